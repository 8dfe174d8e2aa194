"""SPICE displays: what is lost without them, VNC in their place, and a password that is good for a while."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from tests.guests import Guest, virsh
from tests.hypervisor.test_domain_xml import canonical
from tests.lab.guarded import Authority
from webvirt.hypervisor.connection import connect
from webvirt.hypervisor.displays import subject_at
from webvirt.hypervisor.domains import DomainCalls
from webvirt.hypervisor.errors import InvalidSpec, NoDisplay, WrongState
from webvirt.hypervisor.types import HostAddress, Transport
from webvirt.hypervisor.xml.displays import lost_without_spice, spice_of, with_password, with_vnc
from webvirt.hypervisor.xml.parse import parse_domain

FOLDER = Path(__file__).with_name("xml") / "displays"
SPICE = (FOLDER / "spice.xml").read_text()
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
GRAPHICS = "<graphics type='spice' autoport='yes' listen='127.0.0.1'/>"
WITH_PASSWORD = "<graphics type='spice' autoport='yes' listen='127.0.0.1' passwd='of-the-owner'/>"


def changed(*pairs: tuple[str, str]) -> str:
    text = SPICE
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return text


def test_vnc_in_its_place_is_as_its_golden_is() -> None:
    assert canonical(with_vnc(SPICE, "virtio")) == canonical((FOLDER / "vnc.xml").read_text())


def test_what_is_lost_is_named() -> None:
    assert lost_without_spice(SPICE) == ("clipboard", "folders", "usb", "audio", "smartcard", "monitors", "password")
    assert lost_without_spice(f"<domain><devices>{GRAPHICS}</devices></domain>") == ()


def test_nothing_of_spice_is_left() -> None:
    assert not re.search("spice|qxl|s3cret|redir|smartcard", with_vnc(SPICE, "vga").replace("wvdoctor-spice", ""))


def test_a_vnc_display_that_is_there_stays_the_only_one() -> None:
    text = changed(("<sound", "<graphics type='vnc' port='5999' autoport='no' listen='192.0.2.1'/><sound"))
    (display,) = parse_domain(with_vnc(text, "virtio")).graphics
    assert (display.type, display.port, display.listen) == ("vnc", 5999, "192.0.2.1")


def test_other_cards_and_the_tablet_stay_as_they_are() -> None:
    text = changed(("<memballoon", "<input type='tablet' bus='virtio'/><memballoon"))
    text = re.sub("<video>.*</video>", "<video><model type='vga' vram='32768'/></video>", text, flags=re.DOTALL)
    root = with_vnc(text, "virtio")
    assert "vram='32768'" in root.replace('"', "'")
    assert root.count("tablet") == 1


def test_without_usb_there_is_no_tablet() -> None:
    assert "tablet" not in with_vnc(changed(('model="ich9-ehci1"', 'model="none"')), "virtio")


@pytest.mark.parametrize(
    ("more", "after", "lost"), [("", "no", True), ("<graphics type='egl-headless'/>", "yes", False)]
)
def test_drawing_by_the_hosts_card_goes_unless_something_shows_it(more: str, after: str, lost: bool) -> None:
    card = "<video><model type='virtio'><acceleration accel3d='yes'/></model></video>"
    text = f"<domain><devices>{GRAPHICS}{more}{card}</devices></domain>"
    assert ("acceleration" in lost_without_spice(text)) == lost
    assert f"accel3d='{after}'" in with_vnc(text, "virtio").replace('"', "'")


def test_where_there_is_none_nothing_is_done() -> None:
    text = "<domain><devices><graphics type='vnc'/></devices></domain>"
    with pytest.raises(NoDisplay):
        with_vnc(text, "virtio")
    with pytest.raises(NoDisplay):
        with_password(text, "x", NOW)
    assert spice_of(text) is None


def test_a_password_is_good_until_a_time_in_utc() -> None:
    until = NOW.astimezone(timezone(timedelta(hours=5)))
    device = with_password(SPICE, "once&only", until)
    assert device.startswith("<graphics ")
    assert 'passwd="once&amp;only"' in device
    assert 'passwdValidTo="2026-07-01T12:00:00"' in device
    assert 'keymap="de"' in device
    with pytest.raises(InvalidSpec):
        with_password(SPICE, "\x01", NOW)


# --- on a real libvirt


@pytest.fixture
def calls() -> Iterator[DomainCalls]:
    with connect(HostAddress(Transport.LOCAL)) as connection:
        yield connection.domains


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest("wvdoctor-display", graphics=WITH_PASSWORD)
    yield guest
    guest.remove()


def test_libvirt_takes_the_whole_definition_with_vnc(calls: DomainCalls, guest: Guest, tmp_path: Path) -> None:
    guest.uuid = "5b1c5bb2-9f5d-4a3e-8a55-0b9a6f3c0051"
    (tmp_path / "spice.xml").write_text(SPICE)
    virsh("define", "--validate", str(tmp_path / "spice.xml"))
    before = calls.convert_to_vnc(guest.uuid, "virtio")
    assert "spice" in before
    assert "s3cret" not in before
    after = guest.virsh("dumpxml", "--inactive", "--security-info")
    assert not re.search("'spice|qxl|redirdev|s3cret", after)
    with pytest.raises(NoDisplay):
        calls.convert_to_vnc(guest.uuid, "virtio")


def test_a_machine_that_runs_has_spice_until_it_starts_again(calls: DomainCalls, guest: Guest) -> None:
    guest.define().virsh("start")
    calls.convert_to_vnc(guest.uuid, "vga")
    assert calls.spice(guest.uuid).has_password
    guest.virsh("destroy")
    with pytest.raises(WrongState):
        calls.spice(guest.uuid)
    guest.virsh("start")
    display = calls.display(guest.uuid)
    assert display.type == "vnc"
    with pytest.raises(NoDisplay):
        calls.spice(guest.uuid)


def test_somebody_is_let_in_by_a_password_of_their_own(calls: DomainCalls, guest: Guest) -> None:
    guest.define().virsh("start")
    assert calls.let_in(guest.uuid, "for-a-while", datetime.now(UTC) + timedelta(minutes=2))
    assert "for-a-while" in guest.virsh("dumpxml", "--security-info")
    assert "of-the-owner" in guest.virsh("dumpxml", "--inactive", "--security-info")


def test_a_display_without_a_password_takes_none(calls: DomainCalls, guest: Guest) -> None:
    guest.graphics = GRAPHICS
    guest.define().virsh("start")
    display = calls.spice(guest.uuid)
    assert (display.listen, display.tls_port, display.has_password) == ("127.0.0.1", None, False)
    assert display.port
    assert not calls.let_in(guest.uuid, "for-a-while", datetime.now(UTC) + timedelta(minutes=2))


# --- certificates


def test_the_subject_of_a_certificate_is_told_where_its_authority_is_ours(tmp_path: Path) -> None:
    ours, other = Authority("ours"), Authority("another")
    for name, authority in (("ours", ours), ("other", other)):
        authority.write(tmp_path / name, "kvm7.example", "server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "ours" / "servercert.pem", tmp_path / "ours" / "serverkey.pem")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                end, _address = listener.accept()
                try:
                    context.wrap_socket(end, server_side=True).close()
                except OSError:
                    end.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        assert subject_at("127.0.0.1", port, tmp_path / "ours" / "cacert.pem") == "CN=kvm7.example"
        assert subject_at("127.0.0.1", port, tmp_path / "other" / "cacert.pem") == ""
        thread.join(5)
    assert subject_at("127.0.0.1", port, tmp_path / "ours" / "cacert.pem") == ""
    assert subject_at("127.0.0.1", port, tmp_path / "nowhere") == ""
