"""THREAT_MODEL.md names every threat once, and only tests that are there."""

from __future__ import annotations

import ast
import re
from functools import cache

from tests.stack import PROJECT

TEXT = (PROJECT / "THREAT_MODEL.md").read_text()
ROWS = re.findall(r"^\| \**(T\d\d)\**[ |].*$", TEXT, re.MULTILINE)
TESTS = sorted(set(re.findall(r"`(tests/[a-z_/0-9]+\.py)::(test_\w+)`", TEXT)))
TEN = {"T01", "T02", "T03", "T04", "T05", "T06", "T12", "T21", "T32", "T34"}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((PROJECT / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_threat_has_one_row() -> None:
    assert [f"T{number:02}" for number in range(44)] == ROWS


def test_every_test_that_it_names_is_there() -> None:
    assert len(TESTS) > 80
    assert [f"{path}::{name}" for path, name in TESTS if name not in names_in(path)] == []


def test_every_threat_has_a_test() -> None:
    rows = re.findall(r"^\| \**T\d\d.*$", TEXT, re.MULTILINE)
    assert [row for row in rows if "::test_" not in row] == []


def test_each_of_the_ten_is_tried_where_all_are() -> None:
    tried = {name.split("_")[1].upper() for name in names_in("tests/test_ten_holes.py") if name.startswith("test_t")}
    assert tried == TEN
    assert set(re.findall(r"^\| \*\*(T\d\d)\*\*", TEXT, re.MULTILINE)) == TEN
