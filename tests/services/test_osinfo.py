"""Which system is on a disc or in an image: by label, by name, and what must not be taken for any."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.discs import DISC_BYTES, small_database
from webvirt.hypervisor.types import DiscLabel
from webvirt.services import osinfo
from webvirt.services.osinfo import system_of

MIB = 2**20


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(osinfo, "FOLDER", small_database(tmp_path))
    yield
    osinfo.database.cache_clear()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("debian-11-generic-amd64.qcow2", "debian11"),
        ("Debian_11_netinst.iso", "debian11"),
        ("debian11.qcow2", "debian11"),
        ("debian-buster-genericcloud-amd64.qcow2", "debian10"),
        ("jammy-server-cloudimg-amd64.img", "ubuntu22.04"),
        ("jammy-minimal-cloudimg-arm64.img", "ubuntu22.04"),
        ("ubuntu-22.04.3-live-server-amd64.iso", "ubuntu22.04"),
        ("Rocky-9-GenericCloud-Base.latest.x86_64.qcow2", "rocky9-unknown"),
        ("openSUSE-Tumbleweed-Minimal-VM.x86_64-Cloud.qcow2", "opensusetumbleweed"),
        ("windows-server-2022.qcow2", "win2k22"),
        ("archlinux-2026.01.01-x86_64.iso", "archlinux"),
        # What came out after the database.
        ("debian-12-generic-amd64.qcow2", "debian12"),
        ("debian-12.5.0-amd64-netinst.iso", "debian12"),
        ("Fedora-Cloud-Base-40-1.14.x86_64.qcow2", "fedora40"),
        ("Fedora-Cloud-Base-Generic.x86_64-40-1.14.qcow2", "fedora40"),
        ("ubuntu-24.04-server-cloudimg-amd64.img", "ubuntu24.04"),
        ("nocloud_alpine-3.19.1-x86_64-bios-cloudinit-r0.qcow2", "alpinelinux3.19"),
        ("rhel-9.4-x86_64-kvm.qcow2", "rhel9.4"),
        ("Rocky-10-GenericCloud.qcow2", "rocky10"),
        ("openSUSE-Leap-15.5-Minimal-VM.x86_64-Cloud.qcow2", "opensuse15.5"),
    ],
)
def test_the_names_that_makers_give(name: str, found: str) -> None:
    assert system_of(name).id == found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "name",
    [
        "",
        "web-1.qcow2",
        "debian-web-11.qcow2",
        "debian-2.qcow2",
        "debian-2.2.qcow2",
        "debian-99.qcow2",
        "ubuntu-40.qcow2",
        "notdebian11.qcow2",
        "debiandb-11.qcow2",
        "buster.qcow2",
        "web-jammy-server.img",
        "db-tumbleweed.qcow2",
        "customer-11-debian.qcow2",
        "rocky-x" * 40,
        "-" * 300,
        "\N{SNOWMAN}11.iso",
    ],
)
def test_names_that_people_give_tell_nothing(name: str) -> None:
    assert system_of(name) == osinfo.UNKNOWN


@pytest.mark.usefixtures("small")
def test_a_newer_one_is_named_like_the_one_before() -> None:
    assert system_of("debian-12-generic.qcow2") == ("debian12", "Debian 12")
    assert system_of("ubuntu-24.04-server.img") == ("ubuntu24.04", "Ubuntu 24.04")
    assert system_of("rocky-10.qcow2") == ("rocky10", "Rocky Linux 10")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("Debian 11.5.0 amd64 n", "debian11"),
        ("Debian 12.5.0 amd64 n", "debian12"),
        ("Ubuntu-Server 22.04.3 LTS amd64", "ubuntu22.04"),
        ("Fedora-S-dvd-x86_64-37", "fedora37"),
        ("Fedora-S-dvd-x86_64-40", "fedora40"),
        ("RHEL-9-1-0-BaseOS-x86_64", "rhel9.1"),
        ("RHEL-9-4-0-BaseOS-x86_64", "rhel9.4"),
        ("RHEL-9-nightly", "rhel9-unknown"),
        ("alpine-virt 3.19.1 x86_64", "alpinelinux3.19"),
        ("ARCH_202601", "archlinux"),
        ("ODD (?<", ""),
        ("CDROM", ""),
        ("", ""),
    ],
)
def test_the_label_of_a_disc(label: str, found: str) -> None:
    assert system_of("cd.iso", DiscLabel(label)).id == found


@pytest.mark.usefixtures("small")
def test_a_label_says_more_than_the_name_and_the_name_more_than_nothing() -> None:
    assert system_of("ubuntu-22.04.iso", DiscLabel("Debian 11.5.0 amd64 n")).id == "debian11"
    assert system_of("ubuntu-22.04.iso", DiscLabel("cidata")).id == "ubuntu22.04"


@pytest.mark.usefixtures("small")
def test_all_that_a_pattern_asks_must_hold() -> None:
    whole = DiscLabel("CENA_X64FREV_EN-US", publisher_id="MICROSOFT CORPORATION", size=DISC_BYTES)
    assert system_of("cd.iso", whole).id == "win10"
    assert not system_of("cd.iso", DiscLabel(whole.volume_id, size=DISC_BYTES)).id
    assert not system_of("cd.iso", DiscLabel(whole.volume_id, publisher_id=whole.publisher_id, size=1)).id


def test_without_the_database_nothing_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osinfo, "FOLDER", tmp_path / "nowhere")
    assert system_of("debian-11-generic-amd64.qcow2", DiscLabel("Debian 11.5.0 amd64 n")) == osinfo.UNKNOWN


MEASURED = """
import tracemalloc
from webvirt.services import osinfo
tracemalloc.start()
osinfo.database(osinfo.FOLDER)
print(tracemalloc.get_traced_memory()[0])
"""


def test_the_distributions_own_database_is_known_and_small() -> None:
    # In a process of its own: here others allocate meanwhile.
    told = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 3 * MIB
    known = osinfo.database(osinfo.FOLDER)
    assert len(known.media) > 1000
    assert all(medium.volume == "" or osinfo.compiled_of(medium.volume) for medium in known.media)
    for name, found in (
        ("debian-12-generic-amd64.qcow2", ("debian12", "Debian 12")),
        ("Fedora-Cloud-Base-40-1.14.x86_64.qcow2", ("fedora40", "Fedora Linux 40")),
        ("AlmaLinux-9-GenericCloud-9.3-20231113.x86_64.qcow2", ("almalinux9", "AlmaLinux 9")),
        ("ubuntu-22.04-server-cloudimg-amd64.img", ("ubuntu22.04", "Ubuntu 22.04 LTS")),
        ("alpine-virt-3.19.0-x86_64.iso", ("alpinelinux3.19", "Alpine Linux 3.19")),
    ):
        assert system_of(name) == found
    assert system_of("cd.iso", DiscLabel("Debian 11.5.0 amd64 n")).id == "debian11"
