"""One measured number against the number that was asked for."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """`value` against `limit`, both in `unit`; `beside` is what was measured next to it in the same run."""

    what: str
    value: float
    limit: float
    unit: str
    beside: str = ""
    at_least: bool = False
    """More is better."""

    @property
    def ok(self) -> bool:
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    @property
    def ratio(self) -> float:
        """How much of the limit is used up; for what must be reached, how far beyond it we are."""
        return self.value / self.limit

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": round(self.ratio, 3), "ok": self.ok}


def say(text: str) -> None:
    """A word on the way, beside the numbers."""
    print(f"  {text}", file=sys.stderr, flush=True)


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that so many per cent of the values do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, -(-len(ordered) * percent // 100) - 1)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def number(value: float) -> str:
    """Three figures."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(lines: Sequence[Line]) -> str:
    """What, asked, measured, ratio, ok, and what was measured beside it."""
    rows = [("what", "asked", "measured", "ratio", "ok", "beside")]
    for line in lines:
        asked = f"{'>=' if line.at_least else '<='} {number(line.limit)} {line.unit}"
        measured = f"{number(line.value)} {line.unit}"
        rows.append((line.what, asked, measured, f"{line.ratio:.2f}", "yes" if line.ok else "NO", line.beside))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip()
        for row in rows
    )
