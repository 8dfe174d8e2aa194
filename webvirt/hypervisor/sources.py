"""What is asked of another hypervisor that machines are imported from. Nothing is changed there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import libvirt

from webvirt.hypervisor.calls import Handle
from webvirt.hypervisor.errors import HostRefused, HypervisorError, InvalidSpec, NotResponding, Unsupported
from webvirt.hypervisor.states import state_of
from webvirt.hypervisor.types import SourceAddress, SourceMachine, VolumeInfo
from webvirt.hypervisor.xml.storage import parse_volume

T = TypeVar("T")
MOST_XML = 2**20
"""Characters of a definition; real ones have some thousand."""
SECONDS = 60.0
"""For one call: VMware's driver waits for its server for as long as that likes."""
NO_DRIVER = ("no connection driver available", "was built without the")
WRONG_CERTIFICATE = ("certificate", "(60)")
"""How curl says so, in libvirt's words."""
WRONG_PASSWORD = "incorrect user name or password"
"""Of VMware's own sentence."""


class SourceCalls:
    """The machines of another hypervisor, by UUID, and where their disks are."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle

    def names(self) -> dict[str, str]:
        """The name of every machine that it has, running or not, by UUID."""
        return self._call(lambda raw: {domain.UUIDString(): domain.name() for domain in raw.listAllDomains(0)})

    def read(self, uuid: str) -> SourceMachine:
        """Raises NotFound, and InvalidSpec for a definition that is far too long to be one."""
        return self._call(lambda raw: machine_of(raw.lookupByUUIDString(uuid)))

    def volume(self, path: str, pool: str = "", name: str = "") -> tuple[str, VolumeInfo]:
        """The volume at a path, or of a pool; with the UUID of its pool. Raises NotFound and Unsupported."""

        def look(raw: Any) -> tuple[str, VolumeInfo]:
            if pool:
                volume = raw.storagePoolLookupByName(pool).storageVolLookupByName(name)
            else:
                volume = raw.storageVolLookupByPath(path)
            return str(volume.storagePoolLookupByVolume().UUIDString()), parse_volume(volume.XMLDesc(0))

        return self._call(look)

    def _call(self, call: Callable[[Any], T]) -> T:
        """Within SECONDS; a call that hangs is left to itself."""

        def asked() -> T:
            with self._handle.call() as raw:
                return call(raw)

        return within(SECONDS, asked)


def machine_of(domain: Any) -> SourceMachine:
    xml = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    if len(xml) > MOST_XML:
        raise InvalidSpec("The definition of this machine is longer than any that is right.")
    return SourceMachine(domain.UUIDString(), domain.name(), state_of(domain.info()[0]), xml, is_saved(domain))


def is_saved(domain: Any) -> bool:
    try:
        return bool(domain.hasManagedSaveImage(0))
    except libvirt.libvirtError:
        # VMware and VirtualBox know no such thing.
        return False


def within(seconds: float, call: Callable[[], T]) -> T:
    """What a call brings or raises. Raises NotResponding when it takes longer."""
    found: list[T] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="source-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise NotResponding(f"It did not answer within {seconds:g} s.")
    if failed:
        raise failed[0]
    return found[0]


@contextmanager
def in_words(source: SourceAddress) -> Iterator[None]:
    """Say what keeps libvirt from talking to another hypervisor where its own sentence would tell nobody."""
    try:
        yield
    except HypervisorError as error:
        text = str(error)
        if any(words in text for words in NO_DRIVER):
            if source.is_vmware:
                raise Unsupported(
                    "The libvirt of this installation was built without its driver for VMware: it cannot talk to it."
                ) from None
            raise Unsupported(f"The libvirt there has no driver for this: {text}") from None
        if source.is_vmware and WRONG_PASSWORD in text:
            raise HostRefused("The user or the password is not right there.") from None
        if source.is_vmware and any(words in text for words in WRONG_CERTIFICATE):
            raise HostRefused(f"Its certificate is not good: {text}.") from None
        raise
