"""A real LDAP directory of the tests' own: slapd on loopback, in a folder of its own, ended by its number."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import ldap
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from ldap.dn import escape_dn_chars

from tests.stack import free_port, wait_for

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
GROUPS = f"ou=groups,{SUFFIX}"
OPEN = f"ou=open,{SUFFIX}"
"""Where everybody may read, whoever they are."""
ASKER = f"cn=webvirt,{SUFFIX}"
ASKS_WITH = "asks politely"
ROOT = (f"cn=root,{SUFFIX}", "root of it all")
CONF = f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/nis.schema
include /etc/ldap/schema/inetorgperson.schema
attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'objectGUID' EQUALITY octetStringMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.2 NAME 'sAMAccountName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )
objectclass ( 1.3.6.1.4.1.4203.666.1.3 NAME 'windowsUser' SUP top AUXILIARY MAY ( objectGUID $ sAMAccountName ) )
modulepath /usr/lib/ldap
moduleload back_mdb
# As Active Directory does: a password that is empty is no password, and nobody in particular is let in.
allow bind_anon_dn
pidfile {{home}}/pid
TLSCACertificateFile {{home}}/ca.pem
TLSCertificateFile {{home}}/cert.pem
TLSCertificateKeyFile {{home}}/key.pem
database mdb
suffix {SUFFIX}
rootdn {ROOT[0]}
rootpw "{ROOT[1]}"
directory {{home}}/data
dbnosync
access to attrs=userPassword by anonymous auth by * none
access to dn.subtree={OPEN} by * read
access to * by dn.exact={ASKER} read by anonymous auth by * none
"""


def make_authority(home: Path) -> None:
    """An authority of its own (`ca.pem`) and what it vouches for: `localhost` (`cert.pem` and `key.pem`)."""
    now = datetime.now(UTC)

    def certificate(name: str, key: Any, issuer: str, signer: Any, *extensions: Any) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=2))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    ca = certificate("tests", authority, "tests", authority, x509.BasicConstraints(ca=True, path_length=None))
    (home / "ca.pem").write_bytes(ca)
    (home / "cert.pem").write_bytes(certificate("localhost", own, "tests", authority, names))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (home / "key.pem").write_bytes(own.private_bytes(*form))


class Slapd:
    """A server with an empty tree, that starts and stops; `plain` and `secure` are its addresses."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.plain, self.secure = (f"{scheme}://127.0.0.1:{free_port()}" for scheme in ("ldap", "ldaps"))
        self.process: subprocess.Popen[bytes] | None = None
        make_authority(home)
        (home / "data").mkdir()
        (home / "slapd.conf").write_text(CONF.format(home=home))
        (home / "password").touch(mode=0o600)
        (home / "password").write_text(ASKS_WITH)
        # Where a system keeps slapd to its own folders, it does so by the path of the program.
        shutil.copy("/usr/sbin/slapd", home / "slapd")

    def start(self) -> None:
        addresses = f"{self.plain} {self.secure}"
        command = (self.home / "slapd", "-f", self.home / "slapd.conf", "-h", addresses, "-d", "0")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.answers, "slapd answers")

    def answers(self) -> bool:
        with suppress(ldap.SERVER_DOWN):
            self.as_root().unbind_s()
            return True
        return False

    def stop(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(timeout=20)

    def freeze(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    # --- what is in it

    def as_root(self) -> Any:
        link = ldap.initialize(self.plain)
        link.simple_bind_s(*ROOT)
        return link

    def add(self, dn: str, kinds: str, **values: str | bytes | list[str]) -> str:
        """An entry; `kinds` are its object classes."""
        given = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
        given["objectClass"] = list(kinds.split())
        link = self.as_root()
        link.add_s(dn, [(name, [raw(value) for value in each]) for name, each in given.items()])
        link.unbind_s()
        return dn

    def person(self, uid: str, password: str, base: str = PEOPLE, **values: str | bytes | list[str]) -> str:
        more = values | {"objectClass": ""}
        kinds = "inetOrgPerson" + (" windowsUser" if {"objectGUID", "sAMAccountName"} & more.keys() else "")
        return self.add(f"uid={uid},{base}", kinds, sn=uid, cn=uid, userPassword=password, **values)

    def group(self, cn: str, *members: str, base: str = GROUPS) -> str:
        return self.add(f"cn={escape_dn_chars(cn)},{base}", "groupOfNames", cn=cn, member=[ASKER, *members])

    def change(self, dn: str, **values: str | list[str]) -> None:
        """Replace these attributes."""
        link = self.as_root()
        each = {name: value if isinstance(value, list) else [value] for name, value in values.items()}
        link.modify_s(dn, [(ldap.MOD_REPLACE, name, [raw(one) for one in found]) for name, found in each.items()])
        link.unbind_s()

    def empty(self) -> None:
        """All of it away, and the folders that every test expects made again."""
        link = self.as_root()
        with suppress(ldap.NO_SUCH_OBJECT):
            found = link.search_s(SUFFIX, ldap.SCOPE_SUBTREE, attrlist=["1.1"])
            for dn in sorted((dn for dn, _values in found), key=len, reverse=True):
                link.delete_s(dn)
        link.unbind_s()
        self.add(SUFFIX, "dcObject organization", o="example")
        for base in (PEOPLE, GROUPS, OPEN):
            self.add(base, "organizationalUnit")
        self.add(ASKER, "organizationalRole simpleSecurityObject", userPassword=ASKS_WITH)

    def settings(self) -> dict[str, Any]:
        """What webvirt's settings are to be."""
        return {
            "WEBVIRT_LDAP_URL": (self.secure,),
            "WEBVIRT_LDAP_CA_FILE": str(self.home / "ca.pem"),
            "WEBVIRT_LDAP_BIND_DN": ASKER,
            "WEBVIRT_LDAP_BIND_PASSWORD_FILE": str(self.home / "password"),
            "WEBVIRT_LDAP_PEOPLE_BASE": PEOPLE,
            "WEBVIRT_LDAP_GROUPS_BASE": GROUPS,
        }


def raw(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
