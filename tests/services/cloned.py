"""What the tests of clones and templates begin with: a machine with disks and a disc, and what became of it."""

from __future__ import annotations

import pytest

from tests.fake_storage import FakeVolume
from tests.services.conftest import GIB, FakeHost
from tests.services.test_bin import again, reconcile
from tests.services.test_creation import ISO, host, made, wish
from webvirt.hypervisor.xml.parse import parse_domain
from webvirt.models import Domain, Host, OperationState
from webvirt.services import inventory

__all__ = ["host"]

S = OperationState
KIND = "domain.clone"
FILES = "/srv/images"


@pytest.fixture
def machine(alpha: FakeHost, host: Host) -> Domain:
    """A machine with two disks of its own, a disc of the library, and a title."""
    iso, pool = alpha.volume(ISO.name), alpha.pool.pk
    two = [{"pool": pool, "size": 5 * GIB}, {"pool": pool, "size": GIB, "format": "raw"}]
    done = alpha.do(
        "domain.create", host, **wish(alpha, begins="disc", volume=iso.pk, disks=two, title="Shop", start=False)
    )
    assert done.state == S.SUCCEEDED, done.error
    volumes = alpha.connection.storage.known[alpha.uuid].volumes
    volumes["new-1.qcow2"].data = bytearray(b"what is on it")
    return Domain.objects.get(name="new-1")


@pytest.fixture
def template(alpha: FakeHost, machine: Domain) -> Domain:
    assert alpha.do("domain.to_template", machine).state == S.SUCCEEDED
    return again(machine)


@pytest.fixture
def running(alpha: FakeHost, machine: Domain) -> Domain:
    alpha.connection.domains.start(machine.uuid)
    reconcile(alpha)
    inventory.remember_definition(machine.host, alpha.connection.domains.read(machine.uuid))
    return again(machine)


def fake_volumes(alpha: FakeHost) -> dict[str, FakeVolume]:
    return alpha.connection.storage.known[alpha.uuid].volumes


def sources(alpha: FakeHost, name: str) -> dict[str, str]:
    return {disk.target: disk.source for disk in parse_domain(made(alpha, name).xml()).disks}
