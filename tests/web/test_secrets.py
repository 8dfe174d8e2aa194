"""Secrets' forms: what was typed as a value is never sent back."""

from __future__ import annotations

import pytest

from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Operation
from webvirt.services import hidden, operations

VALUE = "c0rrect-h0rse"


def test_a_form_that_was_refused_forgets_the_value_alone(cast: Cast, enter: Enter) -> None:
    form = {"usage": "volume", "usage_id": "no-path", "description": "of the backup", "value": VALUE}
    answer = enter("administrator").post(f"/hosts/{cast.host.pk}/create-secret/", form)
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "of the backup" in text
    assert VALUE not in text


def test_the_plan_does_not_repeat_it(cast: Cast, enter: Enter) -> None:
    answer = enter("administrator").post(f"/secrets/{cast.secret.pk}/set_value/", {"value": VALUE, "plan": "1"})
    assert answer.json()["virsh"] == f"virsh -c test:///default secret-set-value {cast.secret.uuid} --interactive"
    assert VALUE not in answer.content.decode()


@pytest.mark.parametrize(("usage", "is_base64"), [("ceph", True), ("iscsi", False)])
def test_only_cephs_keys_are_taken_for_base64(
    cast: Cast, enter: Enter, monkeypatch: pytest.MonkeyPatch, usage: str, is_base64: bool
) -> None:
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)
    monkeypatch.setattr(operations, "send", lambda operation: None)
    form = {"usage": usage, "usage_id": "x", "value": "password", "base64": "on"}
    enter("administrator").post(f"/hosts/{cast.host.pk}/create-secret/", form)
    assert Operation.objects.get().parameters["base64"] is is_base64
