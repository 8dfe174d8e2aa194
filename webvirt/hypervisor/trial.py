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
from webvirt.hypervisor.addresses import DEFAULT_PORTS, check_address, line_for, shown
from webvirt.hypervisor.connection import PORT_SECONDS, Connection, connect
from webvirt.hypervisor.errors import HostRefused, HypervisorError, IdentityChanged, IdentityUnknown, InvalidSpec
from webvirt.hypervisor.identity import verify
from webvirt.hypervisor.types import Check, HostAddress, Transport, Verdict

PASS, WARN, FAIL = Verdict.PASS, Verdict.WARN, Verdict.FAIL
OLDEST = "6.0.0"
SSH_FAILED = 255
"""ssh's own exit code; every other is of the command that it ran, which we do not mind."""
LOCAL_SOCKETS = (Path("/run/libvirt/libvirt-sock"), Path("/run/libvirt/virtqemud-sock"))
HOST_KEYS = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"
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
        Transport.SSH: [try_parts, try_name, try_port, try_identity, try_ssh],
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


def try_identity(trial: Trial) -> Check:
    """Whether the host is the one that a person confirmed, before anything is sent to it."""
    try:
        verify(trial.address)
    except IdentityChanged as error:
        return Check(
            "identity",
            FAIL,
            str(error),
            "Somebody may sit in between, or the host was installed anew. Nothing is sent to it.",
            f"Only if you know why: compare with what the host says of itself (there: {HOST_KEYS}), then confirm it on "
            "its page.",
        )
    except IdentityUnknown as error:
        return Check(
            "identity",
            FAIL,
            str(error),
            remedy=f"Compare with what the host says of itself (there: {HOST_KEYS}), then confirm it on its page.",
        )
    return Check("identity", PASS, f"the host shows the key that was confirmed: {shown(trial.address.keys)}")


def try_ssh(trial: Trial) -> Check:
    """Sign-in, as libvirt will do it."""
    try:
        credentials.prepare_ssh(trial.address.keys)
        said = sign_in(trial)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("ssh", FAIL, str(error), remedy="See that ssh is installed here and that sshd answers there.")
    if said is None:
        return Check("ssh", PASS, "signed in")
    if "Permission denied" in said:
        return Check("ssh", FAIL, "the host does not accept our key", remedy=f"There: {install_line()}")
    return Check("ssh", FAIL, said.splitlines()[-1] if said else "ssh failed", remedy=f"Try by hand: {ssh_line(trial)}")


def install_line() -> str:
    """What has an account accept our key, on one line, typed by that account itself; "" where there is no key yet."""
    try:
        key = credentials.public_key().read_text().strip()
    except OSError:
        return ""
    return line_for(key)


def ssh_command(trial: Trial) -> list[str]:
    program = str(credentials.ssh_program(trial.address.keys))
    return [program, "-T", "-p", str(trial.port), "--", trial.target, "true"]


def ssh_line(trial: Trial) -> str:
    return shlex.join(ssh_command(trial))


def sign_in(trial: Trial) -> str | None:
    """Sign in and out again; returns what ssh said if that failed."""
    done = run(ssh_command(trial), trial.seconds)
    return done.stderr.strip() if done.returncode == SSH_FAILED else None


def accepts_next_key(address: HostAddress, *, deadline: float = 10.0) -> bool:
    """Whether a host lets us in by the key that shall take the place of ours, and by that alone."""
    trial = Trial(address, time.monotonic() + deadline)
    only = (credentials.NEXT,)
    credentials.prepare_ssh(address.keys, only)
    command = [str(credentials.ssh_program(address.keys, only)), *ssh_command(trial)[1:]]
    try:
        return run(command, deadline).returncode != SSH_FAILED
    except subprocess.TimeoutExpired:
        return False


def run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
    )


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
    try:
        found = credentials.authority()
    except (OSError, ValueError) as error:
        return Check("tls", FAIL, f"the authority's certificate is not understood: {error}", remedy=TLS_GUIDE)
    return Check("tls", PASS, f"hosts are known by the authority {found}")


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
    transport = trial.address.transport
    there = "" if transport == Transport.LOCAL else "There: "
    if not isinstance(error, HostRefused):
        return f"{there}systemctl restart libvirtd (with modular daemons: virtqemud), then see: journalctl -u libvirtd"
    if transport in (Transport.TLS, Transport.TCP) and "ertificate" not in str(error):
        user = shlex.quote(trial.address.user or "USER")
        return f"Edit the address and enter user and password as libvirt there has them: saslpasswd2 -a libvirt {user}"
    if transport == Transport.TLS:
        return f"See that both certificates are of one CA and name their hosts: {TLS_GUIDE}"
    return there + join_group(trial.address.user or getpass.getuser())


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
