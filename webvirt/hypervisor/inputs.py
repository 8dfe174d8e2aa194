"""What a machine's console is used with: its tablet and its clipboard channel. Part of `DomainCalls`."""

from __future__ import annotations

from collections.abc import Callable

import libvirt

from webvirt.hypervisor.calls import Handle, broken
from webvirt.hypervisor.errors import WrongState
from webvirt.hypervisor.making import definitions
from webvirt.hypervisor.xml.inputs import clipboard_for, tablet_for


class InputCalls:
    """Every method raises a HypervisorError of the kind that fits; a uuid may be NotFound."""

    _handle: Handle

    def add_tablet(self, uuid: str) -> bool:
        """Give it a tablet for its pointer, for good; whether a running machine has it at once.

        Raises WrongState where it has one.
        """
        return self._add(uuid, tablet_for)

    def add_clipboard(self, uuid: str) -> bool:
        """Give it a channel for its clipboard, for good; whether a running machine has it at once.

        Raises WrongState where it has one, or its place is taken. While it has the channel, a QEMU before 10.1
        refuses to save its memory, or to move it while it runs.
        """
        return self._add(uuid, clipboard_for)

    def _add(self, uuid: str, device_for: Callable[[str], str]) -> bool:
        with self._handle.domain(uuid) as domain:
            wanted = {flag: device for flag, xml in definitions(domain) if (device := device_for(xml))}
            if not wanted:
                raise WrongState("The machine has one already.")
            live = wanted.pop(libvirt.VIR_DOMAIN_AFFECT_LIVE, "")
            for flag, device in wanted.items():
                domain.attachDeviceFlags(device, flag)
            try:
                if live:
                    domain.attachDeviceFlags(live, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                # It may have no controller or port that is free; it will when it is started anew.
                if broken(error) or not domain.isPersistent():
                    raise
                return False
        return True
