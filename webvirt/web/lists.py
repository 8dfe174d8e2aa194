"""Lists whose filters, order and page stand in the address, so that a list can be sent to a colleague."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

PAGE_SIZE = 50


@dataclass(frozen=True)
class Query:
    """The part of the address after `?`, known keys only, empty values left out."""

    pairs: tuple[tuple[str, str], ...]

    @property
    def values(self) -> dict[str, str]:
        return dict(self.pairs)

    def get(self, key: str) -> str:
        return self.values.get(key, "")

    def link(self, **changes: object) -> str:
        """The same list with some values changed; any change but of the page leads back to the first page."""
        merged = self.values | {key: str(value) for key, value in changes.items()}
        if "page" not in changes:
            merged.pop("page", None)
        kept = {key: value for key, value in merged.items() if value}
        return f"?{urlencode(kept)}" if kept else "?"

    @property
    def is_filtered(self) -> bool:
        return any(key not in ("sort", "page", "view") for key, _value in self.pairs)


def query_of(given: Mapping[str, str], keys: tuple[str, ...]) -> Query:
    wanted = (*keys, "sort", "page")
    return Query(tuple((key, given[key].strip()[:200]) for key in wanted if given.get(key, "").strip()))


@dataclass(frozen=True)
class Slice:
    """One page of a list: its number from 1, and of how many rows."""

    number: int
    total: int
    size: int = PAGE_SIZE

    @property
    def pages(self) -> int:
        return max(1, -(-self.total // self.size))

    @property
    def start(self) -> int:
        return (self.number - 1) * self.size

    @property
    def first(self) -> int:
        return self.start + 1 if self.total else 0

    @property
    def last(self) -> int:
        return min(self.start + self.size, self.total)


def slice_of(query: Query, total: int, size: int = PAGE_SIZE) -> Slice:
    """The asked page, or the nearest there is."""
    wanted = query.get("page")
    number = int(wanted) if wanted.isdecimal() and len(wanted) < 8 else 1
    return Slice(max(1, min(number, -(-total // size) or 1)), total, size)
