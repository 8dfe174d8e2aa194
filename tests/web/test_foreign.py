"""The pages of a look at another hypervisor, and of an import from there."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from tests.fakes import FakeConnection
from tests.people import Cast
from tests.web.conftest import Enter
from webvirt.models import Grant, Host, Network, NetworkStatus, Operation, OperationState, Role, SourceHost
from webvirt.services import foreign, hidden, operations
from webvirt.services.foreign import Offer
from webvirt.services.ovf import Appliance, Card, Disk

UUID = "564d9bef-acd9-b4e0-c8f0-aea8b9103515"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGvAMvhDDWWGSt5QaOzbECuFMiDqyVOF0qKNxTzpY3jD"
ESX = {"kind": "esx", "hostname": "esx1.example.org", "user": "root", "password": "hunter2"}
GIB = 2**30
FILES = Offer(
    UUID,
    "<b>files</b>",
    "shutoff",
    Appliance(
        "<b>files</b>", 4096, 2, "bios", "win2k19", (Disk("sda", "raw", 60 * GIB, "scsi"),),
        (Card("VM Network", "vmxnet3", "00:0c:29:10:35:15"),),
    ),
    ("[ssd] files/files.vmdk",),
)  # fmt: skip


@pytest.fixture(autouse=True)
def unsent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "send", lambda operation: None)
    monkeypatch.setattr(hidden, "hide", lambda operation, spec: None)


@pytest.fixture
def host(cast: Cast) -> Host:
    Host.objects.filter(pk=cast.host.pk).update(info=asdict(FakeConnection().host.info()))
    Network.objects.update(status=NetworkStatus.ACTIVE)
    return Host.objects.get(pk=cast.host.pk)


def post(enter: Enter, host: Host, **form: Any) -> Any:
    return enter("administrator").post(f"/hosts/{host.pk}/look_elsewhere/", form)


def page(enter: Enter, host: Host, query: str, who: str = "administrator", status: int = 200) -> str:
    answer = enter(who).get(f"/hosts/{host.pk}/import-domain/?{query}")
    assert answer.status_code == status
    return str(answer.content.decode())


@pytest.fixture
def looked(enter: Enter, cast: Cast, host: Host) -> Operation:
    """A look at an ESXi that has found one machine that can be imported, and one that cannot."""
    assert post(enter, host, **ESX).status_code == 302
    operation = Operation.objects.get()
    runs = replace(FILES, uuid=UUID.replace("5", "6"), name="runs", why="It is running.")
    machines = [foreign.as_json(FILES), foreign.as_json(runs)]
    SourceHost.objects.create(
        operation=operation, kind="esx", hostname="esx1.example.org", user="root", machines=machines
    )
    end(operation, OperationState.SUCCEEDED)
    return operation


def end(operation: Operation, state: OperationState, error: str = "") -> None:
    claimed = operations.claim(operation.pk)
    assert claimed
    operations.finish(claimed, state, error=error)


def test_the_form_leads_to_the_look_and_keeps_no_password(enter: Enter, host: Host) -> None:
    text = page(enter, host, "")
    assert f'href="/hosts/{host.pk}/look_elsewhere/"' in text
    answer = post(enter, host, **ESX)
    operation = Operation.objects.get()
    assert answer.headers["Location"] == f"/hosts/{host.pk}/import-domain/?source={operation.pk}"
    assert operation.parameters["password"] == "**********"
    assert operation.virsh == "virsh -c esx://root@esx1.example.org/ list --all"
    text = page(enter, host, f"source={operation.pk}")
    assert f'data-live="operation:{operation.pk}"' in text
    assert "hunter2" not in text


@pytest.mark.parametrize("form", [{"hostname": "a b"}, {"user": ""}, {"password": ""}, {"path": "DC/h"}])
def test_a_wrong_address_is_corrected_in_the_form(enter: Enter, host: Host, form: dict[str, str]) -> None:
    answer = post(enter, host, **(ESX | form))
    text = answer.content.decode()
    assert answer.status_code == 400
    assert "alert-danger" in text
    assert "hunter2" not in text
    assert not Operation.objects.exists()


def test_a_key_is_shown_to_be_confirmed(enter: Enter, host: Host) -> None:
    post(enter, host, kind="xen", hostname="xen1", user="root", port="2222")
    operation = Operation.objects.get()
    SourceHost.objects.create(operation=operation, kind="xen", hostname="xen1", offered=[KEY])
    end(operation, OperationState.FAILED, "Nobody has confirmed its key yet, so we have not signed in.")
    text = page(enter, host, f"source={operation.pk}")
    for name, value in (("kind", "xen"), ("hostname", "xen1"), ("port", "2222"), ("user", "root")):
        assert f'name="{name}" value="{value}"' in text
    assert 'name="fingerprints" value="SHA256:' in text


def test_what_has_failed_is_said_and_corrected(enter: Enter, host: Host) -> None:
    post(enter, host, **ESX, unverified="on")
    operation = Operation.objects.get()
    end(operation, OperationState.FAILED, "Its certificate is not good: <i>")
    text = page(enter, host, f"source={operation.pk}")
    assert "Its certificate is not good: &lt;i&gt;" in text
    again = "kind=esx&amp;hostname=esx1.example.org&amp;user=root"
    assert f'href="/hosts/{host.pk}/look_elsewhere/?{again}"' in text


def test_its_machines_are_chosen_from(enter: Enter, host: Host, looked: Operation) -> None:
    text = page(enter, host, f"source={looked.pk}")
    assert f'href="?source={looked.pk}&amp;machine={UUID}"' in text
    assert "&lt;b&gt;files&lt;/b&gt;" in text
    assert "It is running." in text
    assert text.count("&amp;machine=") == 1
    # And from the first step, for a day.
    assert f'href="?source={looked.pk}"' in page(enter, host, "")


def test_the_machine_is_shown_to_be_corrected_and_asked_for(
    enter: Enter, cast: Cast, host: Host, looked: Operation
) -> None:
    text = page(enter, host, f"source={looked.pk}&machine={UUID}")
    for name, value in (("vcpus", "2"), ("memory", "4096"), ("mac", "00:0c:29:10:35:15"), ("machine", UUID)):
        assert f'name="{name}" value="{value}"' in text
    network = Network.objects.get()
    form = {"source": looked.pk, "machine": UUID, "name": "files", "pool": cast.pool.pk, "memory": "2", "start": "on"}
    form |= {"memory_unit": "GiB", "card": ["", f"network:{network.pk}"], "mac": ["00:0c:29:10:35:15", ""]}
    answer = enter("administrator").post(f"/hosts/{host.pk}/import-domain/", form)
    assert answer.status_code == 302, answer.content.decode()
    asked = Operation.objects.get(kind="domain.import")
    assert asked.parameters == {
        "source": looked.pk,
        "machine": UUID,
        "pool": cast.pool.pk,
        "name": "files",
        "os": "",
        "memory_mib": 2048,
        "firmware": "auto",
        "bus": "auto",
        "cards": [{"network": network.pk, "bridge": "", "filter": ""}],
        "start": True,
    }
    assert "curl -f -u root -o sda.img 'https://esx1.example.org/folder/files/files-flat.vmdk?dcPath=" in asked.virsh


def test_others_do_not_even_know_of_it(enter: Enter, cast: Cast, host: Host, looked: Operation) -> None:
    for who in ("owner", "stranger"):
        assert enter(who).get(f"/hosts/{host.pk}/look_elsewhere/").status_code == 404
    other = Operation.objects.create(
        kind="host.look_elsewhere", queue="slow", user=cast.owner, origin="page", subject=f"host:{host.pk}", host=host
    )
    page(enter, host, f"source={other.pk}", status=404)


def test_nobody_else_asks_what_an_import_from_there_would_do(
    enter: Enter, cast: Cast, host: Host, looked: Operation
) -> None:
    Grant.objects.create(user=cast.stranger, role=Role.ADMINISTRATOR)
    form = {"source": looked.pk, "machine": UUID, "name": "files", "pool": cast.pool.pk, "plan": "1"}
    path = f"/hosts/{host.pk}/import-domain/"
    told = enter("administrator").post(path, form).json()
    assert "esx1.example.org" in told["virsh"]
    assert ["Disk", "images/files.qcow2 · 60\N{NO-BREAK SPACE}GiB · new"] in told["steps"]
    assert enter("stranger").post(path, form).status_code == 404


def test_what_is_forgotten_is_said(enter: Enter, host: Host, looked: Operation) -> None:
    SourceHost.objects.all().delete()
    assert "What was found there is not kept any more: look there again." in page(enter, host, f"source={looked.pk}")
