"""Which spellings are the same name."""

from __future__ import annotations

import unicodedata


def folded(name: str) -> str:
    """The same for all spellings that are the same account."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
