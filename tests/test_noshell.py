"""The guard against shells sees every way to one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests import noshell


@pytest.mark.parametrize(
    "start",
    [
        lambda: os.system("true"),  # noqa: S605
        lambda: os.popen("true"),  # noqa: S605
        lambda: subprocess.run("true", shell=True, check=False),  # noqa: S602
        lambda: subprocess.run(["true"], shell=True, check=False),  # noqa: S602
        lambda: subprocess.getoutput("true"),  # noqa: S605
    ],
)
def test_no_way_leads_to_a_shell(monkeypatch: pytest.MonkeyPatch, start: Callable[[], Any]) -> None:
    monkeypatch.setattr(noshell, "started", [])
    with pytest.raises(AssertionError, match="a shell was started"):
        start()
    assert len(noshell.started) == 1


def test_a_program_is_not_a_shell() -> None:
    assert subprocess.run(["true"], check=False).returncode == 0
