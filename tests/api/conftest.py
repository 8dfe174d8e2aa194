"""A caller of the API: a person with a token, or with a signed-in browser."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from tests.people import Cast
from webvirt.models import User
from webvirt.services.tokens import create_token


class Caller:
    """Calls /api/v1 as somebody; `user` None is nobody at all. `limits` are those of the token."""

    def __init__(self, user: User | None, **limits: Any) -> None:
        self.client = Client(enforce_csrf_checks=True, raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {create_token(user, 'test', 1, **limits)}"} if user else {}

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        content = "" if body is None else body if isinstance(body, str) else json.dumps(body)
        return self.client.generic(
            method,
            f"/api/v1{path}",
            data=content,
            content_type="application/json",
            headers=self.headers | {name.replace("_", "-"): value for name, value in headers.items()},
        )

    def get(self, path: str) -> Any:
        return self.call("GET", path)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.call("POST", path, body, **headers)


class Callers:
    """The cast, each with a token."""

    def __init__(self, cast: Cast) -> None:
        self.cast = cast

    def __getattr__(self, name: str) -> Caller:
        return Caller(None if name == "nobody" else self.cast.who(name))


@pytest.fixture
def api(cast: Cast) -> Callers:
    return Callers(cast)
