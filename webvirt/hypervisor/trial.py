"""Trying a connection step by step, so that the step that fails is named, with what to do about it.

Remedies are for the person at a shell of this machine, unless they say "there".
"""

from __future__ import annotations

import getpass
import os
import shlex
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from webvirt.hypervisor import credentials
from webvirt.hypervisor.addresses import DEFAULT_PORTS, check_address
from webvirt.hypervisor.connection import PORT_SECONDS, Connection, connect
from webvirt.hypervisor.errors import HostRefused, HypervisorError, InvalidSpec
from webvirt.hypervisor.types import Check, HostAddress, Transport, Verdict

PASS, WARN, FAIL = Verdict.PASS, Verdict.WARN, Verdict.FAIL
OLDEST = "6.0.0"
SSH_FAILED = 255
"""ssh's own exit code; every other is of the command that it ran, which we do not mind."""
LOCAL_SOCKETS = (Path("/run/libvirt/libvirt-sock"), Path("/run/libvirt/virtqemud-sock"))
TLS_GUIDE = "https://libvirt.org/kbase/tlscerts.html"


@dataclass(frozen=True)
class Trial:
    """One address being tried, until `ends` (monotonic seconds)."""

    address: HostAddress
    ends: float

    @property
    def port(self) -> int:
        return self.address.port or DEFAULT_PORTS[self.address.transport]

    @property
    def target(self) -> str:
        """`user@host`, as ssh takes it."""
        user = f"{self.address.user}@" if self.address.user else ""
        return f"{user}{self.address.hostname}"

    @property
    def seconds(self) -> float:
        """What is left of the time, and never nothing: the step that fails should say why."""
        return max(1.0, self.ends - time.monotonic())


Step = Callable[[Trial], Check]


def try_address(address: HostAddress, *, deadline: float = 20.0) -> Iterator[Check]:
    """Yield each step as it is done, in about `deadline` seconds altogether; ends after the first that fails."""
    trial = Trial(address, time.monotonic() + deadline)
    for step in steps_of(address.transport):
        check = step(trial)
        yield check
        if check.verdict == FAIL:
            return
    yield from try_libvirt(trial)


def steps_of(transport: Transport) -> list[Step]:
    """What comes before libvirt."""
    steps: dict[Transport, list[Step]] = {
        Transport.LOCAL: [try_parts, try_socket],
        Transport.TEST: [try_parts],
        Transport.SSH: [try_parts, try_name, try_port, try_ssh],
        Transport.TLS: [try_parts, try_name, try_port, try_certificates],
        Transport.TCP: [try_parts, try_name, try_port],
    }
    return steps[transport]


def try_parts(trial: Trial) -> Check:
    try:
        check_address(trial.address)
    except InvalidSpec as error:
        return Check("address", FAIL, str(error), remedy="Correct it and try again.")
    return Check("address", PASS, "every part is as it should be")


def try_socket(_trial: Trial) -> Check:
    """The local daemon's socket, and whether we may use it."""
    there = [path for path in LOCAL_SOCKETS if path.exists()]
    if not there:
        return Check("socket", FAIL, f"there is no {LOCAL_SOCKETS[0]}", remedy="systemctl start libvirtd")
    if not any(os.access(path, os.R_OK | os.W_OK) for path in there):
        return Check("socket", FAIL, f"{there[0]} is not open to us", remedy=join_group(getpass.getuser()))
    return Check("socket", PASS, str(there[0]))


def try_name(trial: Trial) -> Check:
    hostname = trial.address.hostname
    try:
        found = socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)
    except OSError as error:
        remedy = f"Check its spelling, or use its IP address. Ask for it by hand: getent hosts {shlex.quote(hostname)}"
        return Check("name", FAIL, f"{hostname}: {error.strerror}", remedy=remedy)
    return Check("name", PASS, ", ".join(dict.fromkeys(str(entry[4][0]) for entry in found)))


def try_port(trial: Trial) -> Check:
    try:
        socket.create_connection((trial.address.hostname, trial.port), timeout=PORT_SECONDS).close()
    except TimeoutError:
        found = f"port {trial.port}: no answer within {PORT_SECONDS:g} s"
        return Check("port", FAIL, found, remedy="See that the host is up and that no firewall drops what we send.")
    except OSError as error:
        return Check("port", FAIL, f"port {trial.port}: {error.strerror or error}", remedy=port_remedy(trial))
    return Check("port", PASS, f"port {trial.port} answers")


def port_remedy(trial: Trial) -> str:
    """How to have something listen there."""
    if trial.address.transport == Transport.SSH:
        return "There: systemctl start ssh"
    return f"There: systemctl stop libvirtd && systemctl start libvirtd-{trial.address.transport}.socket libvirtd"


# --- SSH


def try_ssh(trial: Trial) -> Check:
    """Handshake, host key and sign-in, as libvirt will do them."""
    try:
        credentials.prepare_ssh()
        said = sign_in(trial)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("ssh", FAIL, str(error), remedy="See that ssh is installed here and that sshd answers there.")
    if said is None:
        return Check("ssh", PASS, "host key known, signed in")
    if "IDENTIFICATION HAS CHANGED" in said:
        return changed_host_key(trial)
    if "Host key verification failed" in said:
        return unknown_host_key(trial)
    if "Permission denied" in said:
        key = shlex.quote(str(credentials.public_key()))
        remedy = f"ssh-copy-id -f -i {key} -p {trial.port} {shlex.quote(trial.target)}"
        return Check("ssh", FAIL, "the host does not accept our key", remedy=remedy)
    return Check("ssh", FAIL, said.splitlines()[-1] if said else "ssh failed", remedy=f"Try by hand: {ssh_line(trial)}")


def ssh_command(trial: Trial) -> list[str]:
    return [str(credentials.ssh_program()), "-T", "-p", str(trial.port), "--", trial.target, "true"]


def ssh_line(trial: Trial) -> str:
    return shlex.join(ssh_command(trial))


def sign_in(trial: Trial) -> str | None:
    """Sign in and out again; returns what ssh said if that failed."""
    done = run(ssh_command(trial), trial.seconds)
    return done.stderr.strip() if done.returncode == SSH_FAILED else None


def run(command: list[str], seconds: float, text: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds, check=False)


def unknown_host_key(trial: Trial) -> Check:
    """Show the host's keys, for a person to compare before taking them."""
    scan = shlex.join(scan_command(trial))
    return Check(
        "ssh",
        FAIL,
        f"we do not know the host's key yet; it shows {fingerprints(offered_keys(trial))}",
        remedy=f"Compare with the host's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: "
        f"{scan} >> {shlex.quote(str(credentials.known_hosts()))}",
    )


def changed_host_key(trial: Trial) -> Check:
    """Somebody sits in between, or the host was installed anew: a person must know."""
    known = str(credentials.known_hosts())
    name = known_name(trial)
    kept = run(["ssh-keygen", "-F", name, "-f", known], trial.seconds).stdout
    return Check(
        "ssh",
        FAIL,
        f"the host's key has changed: it was {fingerprints(kept)}, it shows {fingerprints(offered_keys(trial))}",
        "Somebody may sit in between, or the host was installed anew. Nothing is sent to it.",
        f"Only if you know why: {shlex.join(['ssh-keygen', '-R', name, '-f', known])}",
    )


def known_name(trial: Trial) -> str:
    """How the host is called in known_hosts."""
    standard = trial.port == DEFAULT_PORTS[Transport.SSH]
    return trial.address.hostname if standard else f"[{trial.address.hostname}]:{trial.port}"


def scan_command(trial: Trial) -> list[str]:
    return ["ssh-keyscan", "-T", "5", "-p", str(trial.port), "--", trial.address.hostname]


def offered_keys(trial: Trial) -> str:
    """The host's public keys, as it shows them to anybody."""
    try:
        return run(scan_command(trial), trial.seconds).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def fingerprints(keys: str) -> str:
    """`ED25519 SHA256:...` of each key in known_hosts' format."""
    if not keys:
        return "none"
    lines = [line.split() for line in run(["ssh-keygen", "-lf", "-"], PORT_SECONDS, keys).stdout.splitlines()]
    return ", ".join(dict.fromkeys(f"{line[-1].strip('()')} {line[1]}" for line in lines if len(line) > 2)) or "none"


# --- TLS


def try_certificates(_trial: Trial) -> Check:
    """The files of ours that TLS needs; whether they convince shows when libvirt opens."""
    folder = credentials.tls_folder()
    missing = [name for name in credentials.TLS_FILES if not os.access(folder / name, os.R_OK)]
    if missing:
        return Check(
            "tls",
            FAIL,
            f"missing or not readable: {', '.join(missing)}",
            remedy=f"Put the CA's certificate, and a client certificate of it with its key, as "
            f"{', '.join(credentials.TLS_FILES)} into {folder}. How to make them: {TLS_GUIDE}",
        )
    return Check("tls", PASS, "CA, client certificate and key are in place")


# --- libvirt


def try_libvirt(trial: Trial) -> Iterator[Check]:
    try:
        connection = connect(trial.address, deadline=trial.seconds)
    except HypervisorError as error:
        yield Check("libvirt", FAIL, str(error), remedy=libvirt_remedy(trial, error))
        return
    with connection:
        yield Check("libvirt", PASS, "connected")
        for key, step in (("version", try_version), ("rights", try_rights), ("storage", try_storage)):
            try:
                check = step(connection)
            except HypervisorError as error:
                check = Check(key, FAIL, str(error), remedy=libvirt_remedy(trial, error))
            yield check
            if check.verdict == FAIL:
                return


def libvirt_remedy(trial: Trial, error: HypervisorError) -> str:
    there = "" if trial.address.transport == Transport.LOCAL else "There: "
    if isinstance(error, HostRefused):
        if trial.address.transport == Transport.TLS:
            return f"See that both certificates are of one CA and name their hosts: {TLS_GUIDE}"
        return there + join_group(trial.address.user or getpass.getuser())
    return f"{there}systemctl restart libvirtd (with modular daemons: virtqemud), then see: journalctl -u libvirtd"


def join_group(user: str) -> str:
    return f"usermod -aG libvirt {shlex.quote(user)}, then start its processes anew"


def try_version(connection: Connection) -> Check:
    found = connection.host.info().libvirt_version
    if numbers(found) < numbers(OLDEST):
        remedy = f"Update libvirt there: {OLDEST} is the oldest that we know."
        return Check("version", FAIL, f"libvirt {found}", remedy=remedy)
    return Check("version", PASS, f"libvirt {found}")


def numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def try_rights(connection: Connection) -> Check:
    """We open for reading and writing, which libvirt refuses as a whole; finer rules show in what it lets us see."""
    found = len(connection.domains.list())
    return Check("rights", PASS, f"may read and write; {found} machines")


def try_storage(connection: Connection) -> Check:
    pools = connection.host.pool_names()
    if pools:
        return Check("storage", PASS, ", ".join(pools))
    return Check(
        "storage",
        WARN,
        "no storage pool",
        "New disks have no place yet.",
        "virsh pool-define-as default dir --target /var/lib/libvirt/images && virsh pool-autostart default "
        "&& virsh pool-start default",
    )
