"""Fetching what one asked to download: only one's own, only while it waits."""

from __future__ import annotations

import socket

import pytest

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.consoleproxy import downloads
from webvirt.models import Grant, Operation, OperationState, Role
from webvirt.services import operations


@pytest.fixture
def asked(enter: Enter, cast: Cast) -> int:
    """A download of the owner's, who has that role on the whole host, as has the operator."""
    for user in (cast.owner, cast.operator):
        Grant.objects.create(user=user, host=cast.host, role=Role.OWNER)
    assert enter("owner").post(f"/volumes/{cast.volume.pk}/download/").status_code == 302
    return Operation.objects.get().pk


@pytest.fixture
def ended(asked: int) -> int:
    assert operations.cancel(Operation.objects.get(pk=asked))
    return asked


def test_who_asked_is_sent_to_who_carries_it(enter: Enter, asked: int) -> None:
    answer = enter("owner").get(f"/operations/{asked}/file/")
    assert (answer.status_code, answer["X-Accel-Redirect"]) == (200, f"/bytes/{asked}")


@pytest.mark.parametrize("who", ["administrator", "operator", "viewer", "stranger"])
def test_nobody_else_finds_it(enter: Enter, asked: int, who: str) -> None:
    answer = enter(who).get(f"/operations/{asked}/file/")
    assert (answer.status_code, answer.has_header("X-Accel-Redirect")) == (404, False)
    assert Operation.objects.get().state == OperationState.QUEUED


def test_what_no_longer_waits_leads_to_its_operation(enter: Enter, ended: int) -> None:
    answer = enter("owner").get(f"/operations/{ended}/file/")
    assert (answer.status_code, answer["Location"]) == (302, f"/operations/{ended}/")
    assert not answer.has_header("X-Accel-Redirect")


def test_a_visitor_of_what_no_longer_waits_is_shown_why(ended: int) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        downloads.carry(ours, ended)
        answer = theirs.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 303 ")
    assert f"Location: /operations/{ended}/\r\n" in answer


def test_a_visitor_who_is_gone_is_no_failure(ended: int) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        downloads.carry(ours, ended)
    assert Operation.objects.get().state == OperationState.CANCELLED
