"""The pure parts: libvirt's errors as our kinds, addresses merged, counters read, pictures turned to PNG."""

from __future__ import annotations

import io
from typing import Any

import libvirt
import pytest
from PIL import Image

from webvirt.hypervisor import errors
from webvirt.hypervisor.calls import translated
from webvirt.hypervisor.domains import as_png, usage_of
from webvirt.hypervisor.guest_addresses import addresses_of, merged
from webvirt.hypervisor.types import DeviceInfo, DomainInfo, GuestAddress, InterfaceInfo


def libvirt_error(code: int, domain: int, message: str = "said libvirt") -> libvirt.libvirtError:
    error = libvirt.libvirtError(message)
    error.err = (code, domain, message, 2, "", "", "", -1, -1)
    return error


@pytest.mark.parametrize(
    ("code", "domain", "kind"),
    [
        ("NO_DOMAIN", "QEMU", errors.NotFound),
        ("NO_STORAGE_VOL", "STORAGE", errors.NotFound),
        ("NO_SECRET", "SECRET", errors.NotFound),
        ("STORAGE_VOL_EXIST", "STORAGE", errors.WrongState),
        ("STORAGE_POOL_BUILT", "STORAGE", errors.WrongState),
        ("OPERATION_INVALID", "DOMAIN", errors.WrongState),
        ("OPERATION_TIMEOUT", "QEMU", errors.NotResponding),
        ("AGENT_UNRESPONSIVE", "QEMU", errors.NotResponding),
        ("NO_SUPPORT", "TEST", errors.Unsupported),
        ("OPERATION_UNSUPPORTED", "QEMU", errors.Unsupported),
        ("CONFIG_UNSUPPORTED", "QEMU", errors.Unsupported),
        ("XML_ERROR", "DOMAIN", errors.InvalidSpec),
        ("AUTH_FAILED", "RPC", errors.HostRefused),
        ("ACCESS_DENIED", "ACCESS", errors.HostRefused),
        ("SYSTEM_ERROR", "RPC", errors.HostUnreachable),
        ("INTERNAL_ERROR", "RPC", errors.HostUnreachable),
        ("RPC", "REMOTE", errors.HostUnreachable),
        ("INTERNAL_ERROR", "QEMU", errors.HypervisorError),
        ("SYSTEM_ERROR", "QEMU", errors.HypervisorError),
    ],
)
def test_kinds_of_errors(code: str, domain: str, kind: type[errors.HypervisorError]) -> None:
    number = getattr(libvirt, f"VIR_ERR_{code}")
    error = translated(libvirt_error(number, getattr(libvirt, f"VIR_FROM_{domain}")))
    assert type(error) is kind
    assert (str(error), error.code) == ("said libvirt", number)


@pytest.mark.parametrize(
    "message",
    [
        "Cannot recv data: Host key verification failed.: Connection reset by peer",
        "Cannot recv data: root@h: Permission denied (publickey).: Connection reset by peer",
        "Failed to connect socket to '/var/run/libvirt/libvirt-sock': Permission denied",
        "Unable to verify TLS peer: The certificate is not trusted.",
    ],
)
def test_refusals_that_libvirt_takes_for_a_broken_line(message: str) -> None:
    error = libvirt_error(libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC, message)
    assert type(translated(error)) is errors.HostRefused


MAC, OTHER = "52:54:00:00:00:01", "02:42:ac:11:00:02"


def told(source: str, *addresses: str, mac: str = MAC) -> list[GuestAddress]:
    answer = {"eth0": {"hwaddr": mac.upper(), "addrs": [{"addr": text, "prefix": 24} for text in addresses]}}
    return addresses_of(source, answer)


def test_addresses_nobody_can_reach_are_left_out() -> None:
    found = told("agent", "192.0.2.7", "127.0.0.1", "::1", "fe80::1", "169.254.3.4", "0.0.0.0", "2001:db8::7", "?")
    assert [each.address for each in found] == ["192.0.2.7", "2001:db8::7"]
    assert addresses_of("arp", {"vnet0": {"hwaddr": None, "addrs": None}}) == []


def test_each_address_is_told_once_by_whom_it_is_best_known() -> None:
    live = DomainInfo("u", "n", interfaces=(InterfaceInfo(MAC),))
    found = merged(
        [*told("lease", "192.0.2.7"), *told("agent", "192.0.2.7", "192.0.2.8"), *told("arp", "192.0.2.8")], live
    )
    assert [(each.address, each.source) for each in found] == [("192.0.2.7", "lease"), ("192.0.2.8", "agent")]


def test_networks_inside_the_guest_are_its_own_business() -> None:
    live = DomainInfo("u", "n", interfaces=(InterfaceInfo(MAC),))
    inside = told("agent", "172.17.0.1", mac=OTHER)
    assert merged(inside, live) == ()
    handed = DomainInfo("u", "n", devices=(DeviceInfo("hostdev", "pci"),))
    assert merged(inside, handed) == tuple(inside)


STATS: dict[str, Any] = {
    "cpu.time": 5_000,
    "vcpu.current": 2,
    "balloon.current": 1000,
    "block.count": 2,
    "block.0.rd.bytes": 1,
    "block.1.rd.bytes": 2,
    "block.1.wr.bytes": 4,
    "net.count": 1,
    "net.0.rx.bytes": 8,
    "net.0.tx.bytes": 16,
}


def test_counters_are_summed() -> None:
    usage = usage_of("u", STATS)
    assert (usage.cpu_ns, usage.vcpus, usage.memory_kib, usage.memory_used_kib) == (5000, 2, 1000, 1000)
    assert (usage.disk_read_bytes, usage.disk_write_bytes, usage.net_rx_bytes, usage.net_tx_bytes) == (3, 4, 8, 16)


def test_memory_used_is_what_the_balloon_tells() -> None:
    assert usage_of("u", STATS | {"balloon.available": 900, "balloon.usable": 300}).memory_used_kib == 600
    assert usage_of("u", STATS | {"balloon.unused": 250}).memory_used_kib == 750


def test_pictures_become_png() -> None:
    ppm = io.BytesIO()
    Image.new("RGB", (2, 1), (255, 0, 0)).save(ppm, "PPM")
    png = as_png(ppm.getvalue())
    assert Image.open(io.BytesIO(png)).getpixel((1, 0)) == (255, 0, 0)
    assert as_png(png) == png
    with pytest.raises(errors.Unsupported):
        as_png(b"no picture")
