"""Browsers of the cast."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.test import Client

from tests.people import Cast

Enter = Callable[[str], Client]


@pytest.fixture
def enter(cast: Cast) -> Enter:
    """A signed-in client of one of the cast."""

    def signed_in(who: str) -> Client:
        client = Client()
        client.force_login(cast.who(who), backend="allauth.account.auth_backends.AuthenticationBackend")
        return client

    return signed_in
