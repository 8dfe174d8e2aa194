"""The files of cloud-init's NoCloud, on a disc labelled LABEL: what a Linux guest becomes at its first boot."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface
from typing import Any

from webvirt.hypervisor.addresses import HOSTNAME, USER, is_number_like
from webvirt.services.seeds.logins import check_password_hash, check_ssh_key
from webvirt.services.seeds.user_data import as_yaml, combined

LABEL = "cidata"
"""By which cloud-init finds the disc."""
MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}", re.ASCII)
PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_:=~^*-]{0,127}", re.ASCII)
SHELL = re.compile(r"(?:/[A-Za-z0-9._-]+)+", re.ASCII)
INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
TIME_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
LOCALE = re.compile(r"[A-Za-z]{1,8}(?:_[A-Za-z]{2,3})?(?:\.[A-Za-z0-9-]+)?(?:@[A-Za-z]+)?", re.ASCII)
AGENT = "qemu-guest-agent"
START_AGENT = (
    f"if command -v systemctl; then systemctl enable {AGENT}; systemctl start {AGENT}; "
    f"else rc-update add {AGENT}; rc-service {AGENT} start; fi"
)
"""By systemd or OpenRC. Where udev starts it there is nothing to enable, which is no failure."""


@dataclass(frozen=True)
class Address:
    """A fixed address of the card with this MAC.

    `address` is IPv4 or IPv6 with its prefix: `192.0.2.10/24`. `gateway` and `dns` are addresses alone.
    """

    mac: str
    address: str
    gateway: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True)
class CloudInit:
    """What a guest is to become.

    A guest that meets another `instance_id` takes itself for new. `user` is made with the right to become root; without
    one, keys and password are for the user that the image has by itself. Cards become eth0, eth1, and so on: those
    with `addresses`, then those of `dhcp_macs`; where neither names one, the image decides (DHCP, mostly).
    `user_data` is what else a person wrote: see `user_data.combined`.
    """

    hostname: str
    instance_id: str
    user: str = ""
    password_hash: str = field(default="", repr=False)
    ssh_keys: tuple[str, ...] = ()
    shell: str = "/bin/bash"
    packages: tuple[str, ...] = ()
    agent: bool = False
    """Whether QEMU's guest agent is installed and started."""
    addresses: tuple[Address, ...] = ()
    dhcp_macs: tuple[str, ...] = ()
    timezone: str = ""
    locale: str = ""
    user_data: str = ""


def files_of(wanted: CloudInit) -> dict[str, str]:
    """The files by name: meta-data, user-data and, where cards are named, network-config. ValueError as of `check`."""
    check_settings(wanted)
    files = {
        "meta-data": as_yaml({"instance-id": wanted.instance_id, "local-hostname": wanted.hostname}),
        "user-data": combined(settings_of(wanted), wanted.user_data),
    }
    if wanted.addresses or wanted.dhcp_macs:
        files["network-config"] = as_yaml(network_of(wanted))
    return files


def check(wanted: CloudInit) -> None:
    """Raise ValueError, with a sentence for the person, unless every part is what it should be."""
    files_of(wanted)


# --- the settings


def settings_of(wanted: CloudInit) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "manage_etc_hosts": True,
        "growpart": {"mode": "auto", "devices": ["/"], "ignore_growroot_disabled": False},
        "resize_rootfs": True,
    } | logins_of(wanted)
    if wanted.timezone:
        settings["timezone"] = wanted.timezone
    if wanted.locale:
        settings["locale"] = wanted.locale
    packages = [*wanted.packages, *([AGENT] if wanted.agent and AGENT not in wanted.packages else [])]
    if packages:
        settings |= {"package_update": True, "packages": packages}
    if wanted.agent:
        settings["runcmd"] = [["sh", "-c", START_AGENT]]
    return settings


def logins_of(wanted: CloudInit) -> dict[str, Any]:
    """Who may sign in, and how."""
    found: dict[str, Any] = {}
    keys = [check_ssh_key(key) for key in wanted.ssh_keys]
    if wanted.user:
        found["users"] = [user_of(wanted, keys)]
    elif keys:
        found["ssh_authorized_keys"] = keys
    if wanted.password_hash:
        found |= {"ssh_pwauth": True, "chpasswd": {"expire": False}}
        if not wanted.user:
            found["password"] = wanted.password_hash
    if wanted.user == "root":
        # Or its keys only tell whoever comes to sign in as somebody else.
        found["disable_root"] = False
    return found


def user_of(wanted: CloudInit, keys: list[str]) -> dict[str, Any]:
    user: dict[str, Any] = {"name": wanted.user, "lock_passwd": not wanted.password_hash}
    if wanted.user != "root":
        user |= {"sudo": "ALL=(ALL) NOPASSWD:ALL", "shell": wanted.shell}
    if wanted.password_hash:
        # `passwd` would be for new users alone, and an image may have this one.
        user["hashed_passwd"] = wanted.password_hash
    if keys:
        user["ssh_authorized_keys"] = keys
    return user


# --- the network


def network_of(wanted: CloudInit) -> dict[str, Any]:
    """Version 1 of cloud-init's network configuration.

    Version 2 fails where a card has DNS servers and is told by its MAC: with `set-name` in cloud-init 22.4 (Debian 12),
    without in some before.
    """
    macs = dict.fromkeys(mac.lower() for mac in (*(each.mac for each in wanted.addresses), *wanted.dhcp_macs))
    cards = [
        {"type": "physical", "name": f"eth{at}", "mac_address": mac, "subnets": subnets_of(wanted, mac)}
        for at, mac in enumerate(macs)
    ]
    return {"version": 1, "config": cards}


def subnets_of(wanted: CloudInit, mac: str) -> list[dict[str, Any]]:
    by_dhcp = [{"type": "dhcp4"}] if mac in map(str.lower, wanted.dhcp_macs) else []
    return [*by_dhcp, *(subnet_of(each) for each in wanted.addresses if each.mac.lower() == mac)]


def subnet_of(address: Address) -> dict[str, Any]:
    own = ip_interface(address.address)
    subnet: dict[str, Any] = {"type": "static" if own.version == 4 else "static6", "address": str(own)}
    if address.gateway:
        subnet["gateway"] = str(ip_address(address.gateway))
    if address.dns:
        subnet["dns_nameservers"] = list(address.dns)
    return subnet


# --- checks


def check_settings(wanted: CloudInit) -> None:
    """Raise ValueError for what cannot be; user data and keys are checked where they are used."""
    if len(wanted.hostname) > 253 or not HOSTNAME.fullmatch(wanted.hostname) or is_number_like(wanted.hostname):
        raise ValueError("The host name must be a DNS name, such as web1 or web1.example.org.")
    if not INSTANCE.fullmatch(wanted.instance_id):
        raise ValueError("The instance's id must be letters, digits, '.', '_' and '-'.")
    check_user(wanted)
    for package in wanted.packages:
        if not PACKAGE.fullmatch(package):
            raise ValueError(f"{package[:64]!r} cannot be the name of a package.")
    if wanted.timezone and not TIME_ZONE.fullmatch(wanted.timezone):
        raise ValueError("The time zone must be one such as Europe/Berlin.")
    if wanted.locale and not LOCALE.fullmatch(wanted.locale):
        raise ValueError("The locale must be one such as de_DE.UTF-8.")
    for address in wanted.addresses:
        check_address(address)
    for mac in (*(each.mac for each in wanted.addresses), *wanted.dhcp_macs):
        if not MAC.fullmatch(mac.lower()):
            raise ValueError("The MAC address of a card must be written as 52:54:00:12:34:56.")


def check_user(wanted: CloudInit) -> None:
    if wanted.user and (not USER.fullmatch(wanted.user) or wanted.user == "default"):
        raise ValueError("The user must be a plain account name: small letters, digits, '_' and '-'.")
    if not SHELL.fullmatch(wanted.shell):
        raise ValueError("The shell must be a path, such as /bin/bash.")
    if wanted.password_hash:
        check_password_hash(wanted.password_hash)


def check_address(address: Address) -> None:
    own = interface_of(address.address)
    plain = own.network.num_addresses <= 2 or own.ip not in (own.network[0], own.network.broadcast_address)
    if not plain or own.ip.is_unspecified or own.ip.is_multicast or own.ip.is_loopback:
        raise ValueError(f"{own} is not an address that a machine can have.")
    if address.gateway:
        check_gateway(own, address.gateway)
    for server in address.dns:
        if not is_plain(server):
            raise ValueError("A DNS server must be an IP address, such as 192.0.2.53.")


def interface_of(text: str) -> IPv4Interface | IPv6Interface:
    address, slash, prefix = text.partition("/")
    if not slash or not is_plain(address) or not re.fullmatch(r"[0-9]{1,3}", prefix, re.ASCII):
        raise ValueError("A fixed address must have its prefix, such as 192.0.2.10/24 or 2001:db8::10/64.")
    try:
        return ip_interface(text)
    except ValueError:
        raise ValueError(f"There is no prefix /{prefix} of {address}.") from None


def check_gateway(own: IPv4Interface | IPv6Interface, text: str) -> None:
    if not is_plain(text) or ip_address(text).version != own.version:
        raise ValueError(f"The gateway of {own} must be an IPv{own.version} address.")
    gateway = ip_address(text)
    alone = own.network.num_addresses == 1
    if gateway == own.ip or not (alone or gateway in own.network or gateway.is_link_local):
        raise ValueError(f"The gateway {gateway} must be another machine in the network {own.network}.")


def is_plain(text: str) -> bool:
    """Whether it is an IP address with nothing behind it."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text
