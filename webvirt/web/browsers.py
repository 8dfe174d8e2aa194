"""A person's sessions as pages list them, and what a browser says of itself in words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from django.utils.translation import gettext as _

from webvirt.models import LoginSession, User
from webvirt.services import sessions

MOST_SHOWN = 50
BROWSERS = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"(?:Chrome|Chromium|CriOS)/"),
    ("Safari", r"\bSafari/"),
)
SYSTEMS = (
    ("Android", r"\bAndroid\b"),
    ("iOS", r"\b(?:iPhone|iPad|iPod)\b"),
    ("Windows", r"\bWindows\b"),
    ("macOS", r"\bMac OS X\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("Linux", r"\bLinux\b"),
)
"""The first that is found: several call themselves by the names of others as well."""


@dataclass(frozen=True)
class SessionRow:
    """One session, for a list. `is_this` is the one in which the list is looked at."""

    session: LoginSession
    handle: str
    device: str
    is_this: bool


def session_rows(user: User, key: str | None) -> list[SessionRow]:
    rows = sessions.of_person(user)[:MOST_SHOWN]
    return [
        SessionRow(row, sessions.handle_of(row.session_key), device(row.browser), row.session_key == key)
        for row in rows
    ]


def device(browser: str) -> str:
    """`Firefox, Linux`; what it says itself where we know neither."""
    found = [next((name for name, sign in table if re.search(sign, browser)), "") for table in (BROWSERS, SYSTEMS)]
    return ", ".join(filter(None, found)) or browser[:60] or _("not told")
