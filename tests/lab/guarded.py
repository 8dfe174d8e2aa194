"""A second host that asks who comes: by certificates over TLS, and for a user and a password over TLS and TCP."""

from __future__ import annotations

import datetime as dt
import subprocess
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.lab.lab import SecondHost

# Over TCP libvirt takes only what encrypts; the other is for TLS.
SASL = "mech_list: scram-sha-256 digest-md5\nsasldb_path: /etc/libvirt/passwd.db\n"
PURPOSES = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]


@dataclass
class Authority:
    """Signs certificates."""

    name: str

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        builder = started(self.subject, self.subject, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def write(self, folder: Path, name: str, role: str) -> None:
        """`cacert.pem`, `ROLEcert.pem` and `ROLEkey.pem`: a certificate for `name`, a host or an address."""
        folder.mkdir(parents=True, exist_ok=True)
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.IPAddress(ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        builder = (
            started(subject, self.subject, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage(PURPOSES), critical=False)
            .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        )
        pem = serialization.Encoding.PEM
        (folder / "cacert.pem").write_bytes(self.certificate.public_bytes(pem))
        (folder / f"{role}cert.pem").write_bytes(builder.sign(self.key, hashes.SHA256()).public_bytes(pem))
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (folder / f"{role}key.pem").write_bytes(private)


def started(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
    )


class GuardedHost(SecondHost):
    """It lets in `user` with `password`; `server` is what its certificate says it is."""

    def __init__(self, n: int, authority: Authority, user: str, password: str, server: str = "") -> None:
        super().__init__(n)
        self.authority, self.user, self.password = authority, user, password
        self.server = server or self.hostname
        self.uri += f"?authfile={self.home}/auth"

    def certify(self, authority: Authority, server: str) -> None:
        """Show another certificate from now on; whoever is connected stays so."""
        self.kill()
        self.authority, self.server = authority, server
        self.up()

    def _settings(self) -> dict[str, str]:
        pki = "/etc/libvirt/pki"
        return super()._settings() | {
            "listen_tls": "1",
            "auth_tcp": '"sasl"',
            "auth_tls": '"sasl"',
            "ca_file": f'"{pki}/cacert.pem"',
            "cert_file": f'"{pki}/servercert.pem"',
            "key_file": f'"{pki}/serverkey.pem"',
        }

    def _write_configuration(self) -> None:
        super()._write_configuration()
        self.authority.write(self.home / "etc" / "pki", self.server, "server")
        # Users are of a realm, which is what the host calls itself.
        (self.home / "sasl2").mkdir(exist_ok=True)
        (self.home / "sasl2" / "libvirt.conf").write_text(SASL)
        command = ["/usr/sbin/saslpasswd2", "-p", "-c", "-u", self._namespace, "-a", "libvirt"]
        database = self.home / "etc" / "passwd.db"
        subprocess.run([*command, "-f", str(database), self.user], input=self.password, text=True, check=True)
        (self.home / "auth").write_text(
            f"[credentials-it]\nauthname={self.user}\npassword={self.password}\n"
            f"[auth-libvirt-{self.hostname}]\ncredentials=it\n"
        )
