"""What systems want of their machines: what is said, what comes down from ancestors, and what is not known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from webvirt.services import osinfo, systems
from webvirt.services.systems import GENERIC, GIB, KIB, traits_of

MIB = 2**20
PCI = "http://pcisig.com/pci/1af4"
ALL_OF_VIRTIO = "".join(f"<device id='{PCI}/{one}'/>" for one in ("1041", "1042", "1043", "1044", "1045", "1050"))

FILES = {
    "tux.org/tux-1.xml": """
        <os id="http://tux.org/tux/1"><short-id>tux1</short-id><name>Tux 1</name><family>linux</family>
          <distro>tux</distro><release-date>2009-01-01</release-date><eol-date>2012-01-01</eol-date>
          <devices><device id="http://pcisig.com/pci/1af4/1000"/></devices>
          <resources arch="all"><minimum><n-cpus>1</n-cpus><ram>134217728</ram></minimum></resources></os>""",
    "tux.org/tux-2.xml": f"""
        <os id="http://tux.org/tux/2"><short-id>tux2</short-id><short-id>tuxwaddle</short-id><name>Tux 2 LTS</name>
          <distro>tux</distro><derives-from id="http://tux.org/tux/1"/><release-date>2021-05-01</release-date>
          <devices>{ALL_OF_VIRTIO}<device id="http://usb.org/usb/80ee/0021"/></devices>
          <resources arch="x86_64"><minimum><ram>1073741824</ram></minimum>
            <recommended><ram>2147483648</ram><storage>10737418240</storage></recommended></resources>
          <resources arch="all"><minimum><ram>1</ram><storage>1073741824</storage></minimum></resources></os>""",
    "tux.org/tux-3.xml": """
        <os id="http://tux.org/tux/3"><short-id>tux3</short-id><name>Tux 3</name>
          <upgrades id="http://tux.org/tux/2"/><derives-from id="http://tux.org/tux/2"/>
          <release-date>2022-05-01</release-date><eol-date>2025-01-01</eol-date>
          <devices><device id="http://pcisig.com/pci/1af4/1050" supported="false"/></devices>
          <resources arch="all" inherit="true"/></os>""",
    "copy.org/copy-3.xml": """
        <os id="http://copy.org/copy/3"><short-id>copy3</short-id><name>Copy 3</name><distro>copy</distro>
          <clones id="http://tux.org/tux/3"/><release-date>2022-06-01</release-date></os>""",
    "copy.org/copy-4-unknown.xml": """
        <os id="http://copy.org/copy/4-unknown"><short-id>copy4-unknown</short-id><name>Copy 4 Unknown</name>
          <derives-from id="http://copy.org/copy/3"/></os>""",
    "turns.org/turn.xml": """
        <os id="http://turns.org/a"><short-id>turna</short-id><name>Turn A</name><clones id="http://turns.org/a"/>
          <derives-from id="http://turns.org/b"/><derives-from id="http://nowhere.org/c"/></os>
        <os id="http://turns.org/b"><short-id>turnb</short-id><name>Turn B</name><family>netbsd</family>
          <clones id="http://turns.org/a"/><release-date>spring</release-date>
          <resources arch="all"><minimum><ram>-1</ram><storage>999999999999999999999</storage></minimum></resources>
        </os>""",
    "microsoft.com/win-10.xml": """
        <os id="http://microsoft.com/win/10"><short-id>win10</short-id><name>Microsoft Windows 10</name>
          <family>winnt</family><distro>win</distro><release-date>2018-11-13</release-date>
          <devices><device id="http://usb.org/usb/80ee/0021"/></devices></os>""",
    "microsoft.com/win-2k22.xml": """
        <os id="http://microsoft.com/win/2k22"><short-id>win2k22</short-id><name>Microsoft Windows Server 2022</name>
          <derives-from id="http://microsoft.com/win/10"/></os>""",
    "libosinfo.org/unknown.xml": "<os id='http://libosinfo.org/unknown'><short-id>unknown</short-id><name>U</name></os>",
}


def database(folder: Path, files: dict[str, str] = FILES) -> Path:
    for path, text in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"<libosinfo version='0.0.1'>{text}</libosinfo>")
    (folder / "tux.org/torn.xml").write_text("<libosinfo><os>")
    return folder


@pytest.fixture(autouse=True)
def _read_anew() -> Iterator[None]:
    yield
    systems.index.cache_clear()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osinfo, "FOLDER", database(tmp_path))


@pytest.mark.usefixtures("small")
def test_what_its_own_file_says() -> None:
    old, new = traits_of("tux1"), traits_of("tux2")
    assert (old.name, old.url, old.family, old.distro) == ("Tux 1", "http://tux.org/tux/1", "linux", "tux")
    assert (old.virtio_net, old.virtio_disk, old.virtio_devices, old.virtio_video, old.tablet) == (
        True,
        False,
        False,
        False,
        False,
    )
    assert not old.efi
    assert old.bios
    assert not old.q35
    assert (old.released, old.ends) == (date(2009, 1, 1), date(2012, 1, 1))
    assert new == traits_of("tuxwaddle")
    assert (new.id, new.is_windows) == ("tux2", False)
    assert new.virtio_net
    assert new.virtio_disk
    assert new.virtio_devices
    assert new.virtio_video
    assert new.tablet
    assert new.efi
    assert new.q35
    assert not any((new.secure_boot, new.tpm, new.localtime, new.hyperv))


@pytest.mark.usefixtures("small")
def test_figures_of_its_own_architecture_come_before_those_of_all() -> None:
    traits = traits_of("tux2")
    assert (traits.memory_kib_min, traits.memory_kib) == (1024 * KIB, 2048 * KIB)
    assert (traits.disk_bytes_min, traits.disk_bytes) == (GIB, 10 * GIB)
    assert (traits.vcpus_min, traits.vcpus) == (GENERIC.vcpus_min, GENERIC.vcpus)


@pytest.mark.usefixtures("small")
def test_where_the_minimum_alone_is_told_twice_of_it_is_good() -> None:
    traits = traits_of("tux1")
    assert (traits.memory_kib_min, traits.memory_kib) == (128 * KIB, 256 * KIB)
    assert (traits.disk_bytes_min, traits.disk_bytes) == (GENERIC.disk_bytes_min, GENERIC.disk_bytes)


@pytest.mark.usefixtures("small")
def test_what_comes_from_ancestors_may_be_taken_away_again() -> None:
    child, clone = traits_of("tux3"), traits_of("copy3")
    assert child.virtio_disk
    assert not child.virtio_video
    assert (child.family, child.memory_kib, child.name) == ("linux", 2048 * KIB, "Tux 3")
    assert (clone.virtio_disk, clone.virtio_video, clone.tablet) == (True, False, True)
    assert (clone.family, clone.distro, clone.memory_kib) == ("linux", "copy", 2048 * KIB)


@pytest.mark.usefixtures("small")
def test_a_turn_of_ancestors_and_nonsense_harm_nothing() -> None:
    assert traits_of("turna").family == traits_of("turnb").family == "netbsd"
    assert traits_of("turnb").released is None
    assert traits_of("turnb").memory_kib_min == GENERIC.memory_kib_min
    assert traits_of("turnb").disk_bytes_min == GENERIC.disk_bytes_min


@pytest.mark.usefixtures("small")
def test_one_newer_than_the_database_is_like_its_predecessor() -> None:
    traits = traits_of("tux5")
    assert (traits.id, traits.name, traits.url) == ("tux5", "Tux 5", "http://tux.org/tux/5")
    assert traits.virtio_disk
    assert not traits.virtio_video
    assert traits.ends is traits.released is None
    assert traits_of("tux2.4").virtio_video, "the closest one before it, not the newest"
    assert traits_of("tux2.4").name == "Tux 2.4"
    assert traits_of("copy4").name == "Copy 4"
    assert traits_of("win2k25").name == "Microsoft Windows Server 2025"
    assert traits_of("win2k25").localtime


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("short_id", ["", "tux0", "plan9", "unknown", "nobody", "tux" + "9" * 5000, "\N{SNOWMAN}1"])
def test_who_is_not_known_is_a_linux_of_today(short_id: str) -> None:
    assert traits_of(short_id) == GENERIC
    assert GENERIC.virtio_disk
    assert GENERIC.efi


@pytest.mark.usefixtures("small")
def test_windows_11_is_known_though_the_database_has_none() -> None:
    traits = traits_of("win11")
    assert (traits.efi, traits.bios, traits.secure_boot, traits.tpm) == (True, False, True, True)
    assert (traits.localtime, traits.hyperv, traits.is_windows) == (True, True, True)
    assert (traits.memory_kib_min, traits.vcpus_min, traits.disk_bytes_min) == (4096 * KIB, 2, 64 * GIB)
    assert not traits.virtio_disk
    older = traits_of("win10")
    assert (older.bios, older.tpm, older.secure_boot, older.localtime) == (True, False, False, True)


def test_what_the_database_says_of_windows_11_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "<os id='http://microsoft.com/win/11'><short-id>win11</short-id><name>Eleven</name><family>winnt</family></os>"
    )
    monkeypatch.setattr(osinfo, "FOLDER", database(tmp_path, FILES | {"microsoft.com/win-11.xml": said}))
    assert traits_of("win11").name == "Eleven"
    assert not traits_of("win11").tpm


@pytest.mark.usefixtures("small")
def test_those_that_their_makers_care_for_stand_first_and_newest_first() -> None:
    listed = systems.systems(date(2023, 1, 1))
    current = [one.id for one in listed if one.is_current]
    assert [one.id for one in listed][: len(current)] == current
    assert current == ["copy3", "win11", "win10", "win2k22", "turna", "turnb", "tux3", "tux2"]
    assert {one.id for one in listed if not one.is_current} == {"tux1", "copy4-unknown"}
    assert [one for one in listed if one.id == "copy3"] == [("copy3", "Copy 3", "linux", True)]
    later = {one.id for one in systems.systems(date(2032, 1, 1)) if one.is_current}
    assert "tux3" not in later, "at its end"
    assert "tux2" not in later, "too old"
    assert "win2k22" in later


def test_without_the_database_all_is_generic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(osinfo, "FOLDER", tmp_path / "nowhere")
    assert traits_of("debian12") == GENERIC
    assert [one.id for one in systems.systems()] == ["win11"]
    assert traits_of("win11").tablet
    assert traits_of("win11").q35


MEASURED = """
import tracemalloc
import django
django.setup()
from webvirt.services import osinfo, systems
tracemalloc.start()
systems.index(osinfo.FOLDER)
print(tracemalloc.get_traced_memory()[0])
"""


def test_the_distributions_own_database_is_known_and_small() -> None:
    # In a process of its own: here others allocate meanwhile.
    told = subprocess.run([sys.executable, "-c", MEASURED], capture_output=True, text=True, check=True)
    assert int(told.stdout) < 2 * MIB
    assert len(systems.index(osinfo.FOLDER).by_url) > 500
    debian = traits_of("debian11")
    assert (debian.url, debian.family, debian.distro) == ("http://debian.org/debian/11", "linux", "debian")
    assert debian.virtio_disk
    assert debian.virtio_net
    assert debian.virtio_devices
    assert debian.tablet
    assert debian.efi
    assert 256 * KIB <= debian.memory_kib_min <= debian.memory_kib <= 4096 * KIB
    assert traits_of("debian99").name == "Debian 99"
    xp, eleven = traits_of("winxp"), traits_of("win11")
    assert not xp.efi
    assert not xp.q35
    assert (eleven.tpm, eleven.secure_boot, eleven.virtio_disk) == (True, True, False)
    assert not traits_of("debian4").efi
    for one in ("debian11", "debian99", "win11", "ubuntu22.04"):
        assert systems.short_id_of(traits_of(one).url) == one
    assert systems.short_id_of("http://nobody.example/os/1") == systems.short_id_of("") == ""
    listed = systems.systems()
    assert len({one.id for one in listed}) == len(listed) > 500
    assert all(one.id and one.name and one.family for one in listed)
