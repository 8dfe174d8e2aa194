"""What the console proxy rehearses before its first visitor: nothing else would tell if it no longer got anywhere."""

from __future__ import annotations

import pytest

from tests.console.wsclient import ORIGIN
from webvirt.consoleproxy import server
from webvirt.consoleproxy.pump import Ending, Pump
from webvirt.models import EndReason


def test_it_goes_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    endings: list[Ending] = []

    class Watched(Pump):
        def run(self) -> Ending:
            endings.append(super().run())
            return endings[-1]

    monkeypatch.setattr(server, "Pump", Watched)
    server.rehearse({ORIGIN})
    assert [ending.reason for ending in endings] == [EndReason.CLOSED]
