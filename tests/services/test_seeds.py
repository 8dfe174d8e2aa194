"""What a guest reads at its first boot, cloud-init's part: who may sign in, the settings, the network, user data."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from email import message_from_string
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from webvirt.services.seeds import cloudinit, user_data
from webvirt.services.seeds.cloudinit import Address, CloudInit, files_of
from webvirt.services.seeds.logins import check_password_hash, check_ssh_key, hash_password

MAC, OTHER = "52:54:00:12:34:56", "52:54:00:ab:cd:ef"
HASH = "$6$abc$K4v3HcZ8yAmpRfxML6S46NCcqy9r4/KdbQpFvqSWsBf4dgySOEOo1DHJTrmn2BsJK2aNmPN8Tfb826D2o9.z51"
BASE = CloudInit("web1", "i-1")


def public(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


KEY = public(ed25519.Ed25519PrivateKey.generate())


def settings(wanted: CloudInit) -> dict[str, Any]:
    """Its user data as cloud-init would load it."""
    text = files_of(wanted)["user-data"]
    assert text.startswith("#cloud-config\n")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def network(*addresses: Address, dhcp: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    text = files_of(replace(BASE, addresses=addresses, dhcp_macs=dhcp))["network-config"]
    found: dict[str, Any] = yaml.safe_load(text)
    assert found["version"] == 1
    cards: list[dict[str, Any]] = found["config"]
    return cards


# --- logins


def u2f(kind: str, *fields: bytes) -> str:
    """A key of a token, which no library makes without one."""
    data = b"".join(len(field).to_bytes(4, "big") + field for field in (kind.encode(), *fields))
    return f"{kind} {base64.b64encode(data).decode()}"


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        public(rsa.generate_private_key(65537, 2048)),
        public(ec.generate_private_key(ec.SECP256R1())),
        public(ec.generate_private_key(ec.SECP521R1())),
        u2f("sk-ssh-ed25519@openssh.com", bytes(32), b"ssh:"),
        u2f("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", bytes(65), b"ssh:"),
    ],
    ids=lambda key: key.partition(" ")[0],
)
def test_a_key_is_taken_as_it_is(key: str) -> None:
    assert check_ssh_key(key) == key
    assert check_ssh_key(f"  {key.replace(' ', '  ', 1)}  Ada Lovelace, home \n") == f"{key} Ada Lovelace, home"


def test_what_is_no_key_is_refused() -> None:
    kind, encoded = KEY.split()
    for wrong in (
        "",
        kind,
        encoded,
        f"{kind} {encoded[:-8]}",
        f"{kind} {encoded}\nssh-rsa AAAA",
        f"{kind} {encoded} a\0b",
        f"{kind} {encoded}!",
        f"{kind} é",
        f"ssh-rsa {encoded}",
        f"ssh-dss {encoded}",
        f'command="id" {KEY}',
        f"no-pty,{KEY}",
        f"- {KEY}",
        f"{KEY} {'x' * 20_000}",
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        u2f(kind, b""),
        public(ec.generate_private_key(ec.SECP256R1())).replace("nistp256", "nistp384", 1),
        f"{kind} {base64.b64encode(base64.b64decode(encoded) + b'x').decode()}",
    ):
        with pytest.raises(ValueError, match="key"):
            check_ssh_key(wrong)


def test_a_password_is_hashed_as_the_system_itself_does() -> None:
    hashed = hash_password("Grüße, 'Welt'")
    kind, rounds, salt = hashed.split("$")[1:4]
    assert (kind, rounds) == ("6", "rounds=100000")
    again = subprocess.run(
        ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", "Grüße, 'Welt'", f"$6${rounds}${salt}$"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == hashed
    assert hash_password("Grüße, 'Welt'") != hashed
    check_password_hash(hashed)


@pytest.mark.parametrize("wrong", ["", "a\nb", "a\0b", "é" * 129, "\ud800"])
def test_what_nobody_can_type_is_no_password(wrong: str) -> None:
    with pytest.raises(ValueError, match="password"):
        hash_password(wrong)


# --- settings


def test_a_machine_gets_its_name_and_its_user() -> None:
    wanted = replace(BASE, hostname="web1.example.org", user="ada", password_hash=HASH, ssh_keys=(KEY,))
    assert yaml.safe_load(files_of(wanted)["meta-data"]) == {
        "instance-id": "i-1",
        "local-hostname": "web1.example.org",
    }
    found = settings(wanted)
    assert found["users"] == [
        {
            "name": "ada",
            "lock_passwd": False,
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "shell": "/bin/bash",
            "hashed_passwd": HASH,
            "ssh_authorized_keys": [KEY],
        }
    ]
    assert found["ssh_pwauth"] is True
    assert found["chpasswd"] == {"expire": False}
    assert found["growpart"]["devices"] == ["/"]


def test_without_a_password_nobody_signs_in_with_one() -> None:
    found = settings(replace(BASE, user="ada", ssh_keys=(KEY,)))
    assert found["users"][0]["lock_passwd"] is True
    assert not {"ssh_pwauth", "chpasswd", "password", "disable_root"} & found.keys()


def test_without_a_user_the_images_own_is_meant() -> None:
    found = settings(replace(BASE, password_hash=HASH, ssh_keys=(KEY,)))
    assert "users" not in found
    assert (found["password"], found["ssh_authorized_keys"]) == (HASH, [KEY])
    assert not {"users", "password", "ssh_authorized_keys", "packages", "runcmd"} & settings(BASE).keys()


def test_root_may_sign_in_where_root_is_asked_for() -> None:
    found = settings(replace(BASE, user="root", ssh_keys=(KEY,)))
    assert found["disable_root"] is False
    assert "sudo" not in found["users"][0]


def test_the_agent_is_installed_and_started() -> None:
    found = settings(
        replace(BASE, packages=("nginx", "g++"), agent=True, timezone="Europe/Berlin", locale="de_DE.UTF-8")
    )
    assert (found["package_update"], found["packages"]) == (True, ["nginx", "g++", "qemu-guest-agent"])
    (command,) = found["runcmd"]
    assert command[:2] == ["sh", "-c"]
    assert subprocess.run(["sh", "-n", "-c", command[2]], check=False).returncode == 0
    assert (found["timezone"], found["locale"]) == ("Europe/Berlin", "de_DE.UTF-8")
    assert settings(replace(BASE, packages=("qemu-guest-agent",), agent=True))["packages"] == ["qemu-guest-agent"]


@pytest.mark.parametrize(
    ("part", "values", "sentence"),
    [
        ("hostname", ["", "a b", "-a", "a\n", "{{ x }}", "192.0.2.1", "a" * 64, "a." * 130], "host name"),
        ("instance_id", ["", "a b", "a\n", "../x", "a" * 65], "instance"),
        ("user", ["Ada", "a:b", "a\n", "!!str a", "default", "a" * 33], "plain account name"),
        ("shell", ["", "bash", "/bin/sh -c", "/bin/sh\n"], "shell"),
        ("password_hash", ["secret", "$6$", f"{HASH}\n", f"{HASH}:x", "$1$abc$5BN5sWc8Dm7OqvvPbe3Fz1"], "password"),
        ("packages", [("",), ("-y",), ("a b",), ("a;id",), ("a\n",)], "package"),
        ("ssh_keys", [("x",), (KEY, f"{KEY}\n{KEY}")], "SSH key"),
        ("timezone", ["../etc", "Europe/", "Europe/Berlin\n"], "time zone"),
        ("locale", ["de DE", "C;id", "de_DE.UTF-8\n"], "locale"),
        ("dhcp_macs", [("",), ("52:54:00:12:34",), (f"{MAC}\n",), ("52-54-00-12-34-56",)], "MAC"),
    ],
)
def test_each_part_is_checked(part: str, values: list[Any], sentence: str) -> None:
    for value in values:
        with pytest.raises(ValueError, match=sentence):
            cloudinit.check(replace(BASE, **{part: value}))


# --- network


def test_cards_are_told_by_their_mac() -> None:
    assert "network-config" not in files_of(BASE)
    cards = network(
        Address(OTHER.upper(), "192.0.2.10/24", "192.0.2.1", ("192.0.2.53", "2001:db8::53")),
        Address(OTHER, "2001:DB8::10/64", "FE80::1"),
        dhcp=(MAC,),
    )
    assert cards == [
        {
            "type": "physical",
            "name": "eth0",
            "mac_address": OTHER,
            "subnets": [
                {
                    "type": "static",
                    "address": "192.0.2.10/24",
                    "gateway": "192.0.2.1",
                    "dns_nameservers": ["192.0.2.53", "2001:db8::53"],
                },
                {"type": "static6", "address": "2001:db8::10/64", "gateway": "fe80::1"},
            ],
        },
        {"type": "physical", "name": "eth1", "mac_address": MAC, "subnets": [{"type": "dhcp4"}]},
    ]


def test_a_card_can_have_both() -> None:
    (card,) = network(Address(MAC, "2001:db8::10/64"), dhcp=(MAC.upper(),))
    assert card["subnets"] == [{"type": "dhcp4"}, {"type": "static6", "address": "2001:db8::10/64"}]


def test_an_address_alone_has_its_gateway_outside() -> None:
    (card,) = network(Address(MAC, "192.0.2.10/32", "198.51.100.1"))
    assert card["subnets"] == [{"type": "static", "address": "192.0.2.10/32", "gateway": "198.51.100.1"}]


@pytest.mark.parametrize(
    ("address", "gateway", "dns", "sentence"),
    [
        ("192.0.2.10", "", (), "prefix"),
        ("192.0.2.10/", "", (), "prefix"),
        ("192.0.2.10/33", "", (), "prefix"),
        ("192.0.2.10/255.255.255.0", "", (), "prefix"),
        ("fe80::1%eth0/64", "", (), "prefix"),
        ("192.0.2.10/24\n", "", (), "prefix"),
        ("x/24", "", (), "prefix"),
        ("192.0.2.0/24", "", (), "cannot|can have"),
        ("192.0.2.255/24", "", (), "can have"),
        ("127.0.0.1/8", "", (), "can have"),
        ("ff02::1/64", "", (), "can have"),
        ("192.0.2.10/24", "192.0.3.1", (), "in the network 192.0.2.0/24"),
        ("192.0.2.10/24", "192.0.2.10", (), "another machine"),
        ("192.0.2.10/24", "fe80::1", (), "IPv4"),
        ("192.0.2.10/24", "gw", (), "IPv4"),
        ("2001:db8::1/64", "192.0.2.1", (), "IPv6"),
        ("192.0.2.10/24", "", ("dns.example.org",), "DNS server"),
        ("192.0.2.10/24", "", ("fe80::1%eth0",), "DNS server"),
    ],
)
def test_an_address_must_be_possible(address: str, gateway: str, dns: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        network(Address(MAC, address, gateway, dns))


# --- user data


def test_what_a_person_wrote_wins_but_for_lists() -> None:
    wanted = replace(BASE, user="ada", packages=("nginx",), agent=True, timezone="UTC")
    written = "#cloud-config\ntimezone: Europe/Berlin\npackages: [git]\nusers: [default]\nruncmd:\n- id\n"
    found = settings(replace(wanted, user_data=written.replace("\n", "\r\n")))
    assert found["timezone"] == "Europe/Berlin"
    assert found["packages"] == ["nginx", "qemu-guest-agent", "git"]
    assert [found["users"][0]["name"], found["users"][1]] == ["ada", "default"]
    assert (len(found["runcmd"]), found["runcmd"][-1]) == (2, "id")
    assert settings(replace(wanted, user_data="packages: none\nbootcmd: [id]"))["packages"] == "none"
    assert settings(replace(wanted, user_data="# nothing\n")) == settings(wanted)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("#!/bin/sh\r\necho 'ü {{ x }}'\r\n", "text/x-shellscript"),
        ("\n#!/bin/sh\n", "text/x-shellscript"),
        ("#include https://example.org/x\n", "text/x-include-url"),
        ("#include-once\nhttps://example.org/x\n", "text/x-include-once-url"),
        ("#cloud-config-archive\n- x\n", "text/cloud-config-archive"),
        ("#cloud-boothook\nid\n", "text/cloud-boothook"),
        ("## template: jinja\n#cloud-config\n{}\n", "text/jinja2"),
    ],
)
def test_what_is_no_mapping_goes_beside_ours(text: str, kind: str) -> None:
    wanted = replace(BASE, user="ada", user_data=text)
    written = files_of(wanted)["user-data"]
    assert files_of(wanted)["user-data"] == written
    message = message_from_string(written)
    assert message.get_content_type() == "multipart/mixed"
    parts = [part for part in message.walk() if not part.is_multipart()]
    assert [part.get_content_type() for part in parts] == ["text/cloud-config", kind]
    bodies = [str(part.get_payload(decode=True), "utf-8") for part in parts]  # type: ignore[arg-type]
    assert yaml.safe_load(bodies[0]) == settings(replace(wanted, user_data=""))
    assert bodies[0].startswith("#cloud-config\n")
    assert bodies[1] == text.replace("\r\n", "\n").lstrip()


ALIASES = "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a", "mapping"),
        ("just words", "mapping"),
        ("1: a", "mapping"),
        ("a: b: c", "line 1"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: [", "not YAML"),
        ("a: \0", "not YAML"),
        ("a: !!python/object/apply:os.system [id]", "not YAML"),
        ("a: !!bool x", "not YAML"),
        ("a: !!timestamp x", "not YAML"),
        ("a: 2001-99-99", "not YAML"),
        ("a: " + "9" * 5000, "not YAML"),
        ("a: 1" + ":1" * 4000, "cannot be used"),
        ("a: 1" + ":1" * 4000 + ".5", "not YAML"),
        (ALIASES, "aliases such as \\*a"),
        ("a: &a {b: *a}", "aliases"),
        ("a: " + "[" * 20_000, "levels deep"),
        ("#!/bin/sh\n\ud800", "no characters"),
        ("a: x" * 20_000, "64 KiB"),
        ("a: '" + "é" * 40_000 + "'", "64 KiB"),
    ],
)
def test_what_cannot_be_merged_is_refused_with_a_reason(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        cloudinit.check(replace(BASE, user_data=text))


def test_many_levels_are_taken() -> None:
    nested = "a: " + "[" * 31 + "]" * 31
    assert settings(replace(BASE, user_data=nested))["a"] is not None
    with pytest.raises(ValueError, match="levels deep"):
        settings(replace(BASE, user_data=f"a: [{nested[3:]}]"))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
    | st.sampled_from(
        ["{{ x }}", "!!python/name:os", "yes", "012", "1:30", "&a", "*a", "'", '"', "a: b", "#x", "- x", " x "]
    ),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), VALUES, max_size=4))
def test_all_that_is_written_is_read_back_the_same(value: dict[str, Any]) -> None:
    assert yaml.safe_load(user_data.as_yaml(value)) == value
    assert user_data.mapping_of(user_data.as_yaml(value)) == value


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_no_text_is_an_error_of_ours(text: str) -> None:
    try:
        written = user_data.combined({"a": 1}, text)
    except ValueError as error:
        assert str(error).startswith("The user data ")  # noqa: PT017
    else:
        assert written
