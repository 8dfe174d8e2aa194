"""Sentences that are kept in English, since they come from floors that know no language, put into the reader's.

`hypervisor` knows no Django, and what an operation found is kept for readers of any language. So such sentences are
English in the code and in the database, and go through `said` where somebody reads them. A test compares this list
with the code they come from. `%(name)s` stands for what a sentence was filled with: a name of one letter for a number,
`host` and `path` for one word, so that libvirt's own sentences are not taken for ours.
"""

from __future__ import annotations

import re

from django.utils.translation import gettext, ngettext_lazy
from django.utils.translation import gettext_noop as _

CHECKS = (
    _("none"),
    _("switched on"),
    _("switched off"),
    _("present"),
    _("emulated"),
    _("not told"),
    _("not loaded"),
    _("none named"),
    _("no /dev/kvm"),
    _("only with KVM"),
    _("BIOS only"),
    _("BIOS, UEFI"),
    _("BIOS, UEFI, secure boot"),
    _("built into the kernel"),
    _("not told by this driver"),
    _("cannot be seen from here"),
    _("cannot be told for this kind of host"),
    _("in use: libvirt offers KVM"),
    _("not named, but KVM is offered"),
    _("neither VT-x (vmx) nor AMD-V (svm)"),
    _("/dev/kvm, and libvirt offers it"),
    _("/dev/kvm is there%(rights)s, but libvirt does not offer it"),
    _(", not open to us"),
    _("missing: %(names)s"),
    _("%(n)s groups"),
    _("%(names)s and %(n)s more"),
    _("No guest can run."),
    _("Guests of these kinds can run."),
    _("Full virtualization with KVM: guests run at the speed of the CPU."),
    _("Emulation only."),
    _("Emulation only: guests run, ten times slower and more."),
    _("The CPU can run guests in hardware."),
    _("What /dev/kvm offers, if it is there, may not carry a guest."),
    _("Guests can run guests with KVM."),
    _("Guests cannot run guests with KVM."),
    _("PCI devices can be handed to guests."),
    _("PCI devices cannot be handed to guests."),
    _("Limits on CPU, memory and disks of guests hold."),
    _("Limits of guests on these do not hold."),
    _("This driver needs none, or none is installed."),
    _("No q35: no PCI Express in guests."),
    _("Guests can start by UEFI, without secure boot."),
    _("Guests that need UEFI, such as Windows 11, cannot run."),
    _("Guests that need a TPM, such as Windows 11, cannot run."),
    _("Guests can have a TPM."),
    _("Update QEMU."),
    _("On the host: %(command)s"),
    _("modprobe kvm_intel (or kvm_amd)"),
    _("apt install qemu-system-x86, then restart libvirtd."),
    _(
        "Switch on virtualization in the machine's firmware (VT-x, AMD-V or SVM), then load the module: "
        "modprobe kvm_intel (or kvm_amd), and restart libvirtd."
    ),
    _("Switch it on in the machine's firmware. In a virtual machine, allow nested virtualization on its host."),
    _("See that the account of QEMU may use it (chgrp kvm /dev/kvm; chmod 660 /dev/kvm), then restart libvirtd."),
    _(
        "If they should: echo 'options kvm_intel nested=1' > /etc/modprobe.d/kvm.conf (or kvm_amd), then load the "
        "module again."
    ),
    _(
        "systemd mounts them; take cgroup_disable= off the kernel's command line. "
        "Without systemd: mount -t cgroup2 none /sys/fs/cgroup"
    ),
    _("Switch on VT-d or AMD-Vi in the firmware; for Intel add intel_iommu=on to the kernel's command line."),
)
"""What the capability check finds, what follows and how to mend it."""

TRIAL = (
    _("every part is as it should be"),
    _("there is no %(path)s"),
    _("%(path)s is not open to us"),
    _("port %(n)s answers"),
    _("port %(n)s: no answer within %(s)s s"),
    _("port %(n)s: %(why)s"),
    _("host key known, signed in"),
    _("ssh failed"),
    _("the host does not accept our key"),
    _("we do not know the host's key yet; it shows %(keys)s"),
    _("the host's key has changed: it was %(before)s, it shows %(keys)s"),
    _("CA, client certificate and key are in place"),
    _("missing or not readable: %(names)s"),
    _("connected"),
    _("libvirt %(version)s"),
    _("may read and write; %(n)s machines"),
    _("no storage pool"),
    _("New disks have no place yet."),
    _("Somebody may sit in between, or the host was installed anew. Nothing is sent to it."),
    _("There: "),
    _("There: systemctl start ssh"),
    _("There: systemctl stop libvirtd && systemctl start libvirtd-%(transport)s.socket libvirtd"),
    _("%(there)ssystemctl restart libvirtd (with modular daemons: virtqemud), then see: journalctl -u libvirtd"),
    _("%(there)susermod -aG libvirt %(user)s, then start its processes anew"),
    _("Correct it and try again."),
    _("Check its spelling, or use its IP address. Ask for it by hand: getent hosts %(hostname)s"),
    _("See that the host is up and that no firewall drops what we send."),
    _("See that ssh is installed here and that sshd answers there."),
    _("Try by hand: %(command)s"),
    _(
        "Compare with the host's own (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then: "
        "%(command)s >> %(path)s"
    ),
    _("Only if you know why: %(command)s"),
    _(
        "Put the CA's certificate, and a client certificate of it with its key, as %(names)s into %(path)s. "
        "How to make them: %(guide)s"
    ),
    _("See that both certificates are of one CA and name their hosts: %(guide)s"),
    _("Update libvirt there: %(version)s is the oldest that we know."),
)
"""What trying a connection finds, and the remedies."""

REASONS = (
    _("migration cancelled"),
    _("migration failed"),
    _("migrating"),
    _("save cancelled"),
    _("saving"),
    _("saved"),
    _("dumping"),
    _("asked"),
    _("I/O error"),
    _("watchdog"),
    _("from a snapshot"),
    _("taking a snapshot"),
    _("shutting down"),
    _("shut down"),
    _("starting up"),
    _("forced off"),
    _("its process ended"),
    _("moved away"),
    _("failed to start"),
    _("guest crashed"),
    _("guest panicked"),
)
"""Why a machine is in its state."""

ERRORS = (
    _("The calls before this one have not returned."),
    _("The connection was closed."),
    _("An earlier attempt to connect still hangs: libvirt does not answer there."),
    _("libvirt did not answer within %(s)s s."),
    _("%(host)s port %(n)s: no answer within %(s)s s."),
    _("%(host)s port %(n)s: %(why)s"),
    _("ssh-keygen made no key: %(why)s"),
    _("ssh refuses the host: its key is not the one that we know."),
    _("The machine has no VNC display."),
    _("The machine is not running."),
    _("There is no saved memory any more."),
    _("The host sent no picture of the screen."),
    _("A title is one line."),
    _("The character U+%(code)s cannot be kept in a definition: take it out."),
    _("XML with a DOCTYPE is refused."),
    _("Not a domain: the XML begins with <%(tag)s>."),
    _("Not understood as XML: %(why)s"),
    _("A local connection has no host name, port or user: leave them empty."),
    _("The host name must be a DNS name or an IP address, such as vm1.example.org or 192.0.2.7."),
    _("The port must be between 1 and 65535."),
    _("Only SSH takes a user."),
    _("The user must be a plain account name: small letters, digits, '_' and '-'."),
)
"""What `hypervisor` raises in words of ours; libvirt's own stay libvirt's."""

FORBIDDEN = (
    _("It is still being made."),
    _("It is a disk of %(names)s."),
    _("These images are based on it: %(names)s."),
    _("%(names)s runs on it: shut it down first."),
    _("%(names)s runs on its volumes: shut it down first."),
    _("There are %(n)s volumes in it: delete them first."),
    _("%(names)s is connected to it."),
    _("It has become a disk of %(name)s meanwhile."),
)
"""What an operation finds in its way when its turn comes: the reasons of `uses`, each as a sentence."""

FIELDS = (
    _("holds characters that cannot be kept (control characters)"),
    _("must be one line"),
    _("must not start with '.' or '-', nor hold '/', nor begin or end with a space"),
    _("a tag is 1 to 40 letters, digits, '.', '_' or '-', unlike %(tag)s"),
    _("is 1 to 120 letters, digits, '.', '_' or '-', and begins with a letter or digit"),
    # Pydantic's own, of the parameters that there are.
    _("Field required"),
    _("Extra inputs are not permitted"),
    _("Input should be a valid string"),
    _("Input should be a valid string, unable to parse raw data as a unicode string"),
    _("Input should be a valid list"),
    _("Input should be a valid boolean"),
    _("Input should be a valid boolean, unable to interpret input"),
    _("Input should be a valid integer"),
    _("Input should be a valid integer, unable to parse string as an integer"),
    _("Input should be a valid integer, got a number with a fractional part"),
    _("Input should be a finite number"),
    _("Unable to parse input string as an integer, exceeded maximum size"),
    # Before the one below, which would take it for a choice.
    _("Input should be a valid dictionary or instance of %(kind)s"),
    _("Input should be %(choices)s or %(choice)s"),
    _("Input should be greater than or equal to %(n)s"),
    _("Input should be less than or equal to %(n)s"),
    _("String should match pattern '%(pattern)s'"),
    _("String should have at least %(n)s character"),
    _("String should have at most %(n)s characters"),
    _("List should have at least %(n)s item after validation, not %(m)s"),
    _("List should have at most %(n)s items after validation, not %(m)s"),
)
"""What is wrong with a verb's parameters."""

NAMES = (
    _("enabled"),
    _("name"),
    _("title"),
    _("description"),
    _("tags"),
    _("keys"),
    _("hold_ms"),
    _("transport"),
    _("hostname"),
    _("port"),
    _("user"),
    _("bytes"),
    _("steps"),
    _("type"),
    _("target_path"),
    _("source_host"),
    _("source_port"),
    _("source_path"),
    _("source_name"),
    _("source_devices"),
    _("source_format"),
    _("auth_user"),
    _("auth_secret"),
    _("build"),
    _("autostart"),
    _("capacity"),
    _("format"),
    _("preallocation"),
    _("backing"),
    _("forward"),
    _("bridge"),
    _("devices"),
    _("domain"),
    _("mtu"),
    _("vlans"),
    _("virtualport"),
    _("port_isolated"),
    _("addresses"),
    _("dns"),
    _("dns_hosts"),
    _("inbound"),
    _("outbound"),
    _("mac"),
    _("address"),
    _("pool"),
    _("volume"),
    _("network"),
    _("waiting"),
)
"""The parameters and results of operations."""

PACKAGES = (
    ngettext_lazy(
        "This password is too short. It must contain at least %d character.",
        "This password is too short. It must contain at least %d characters.",
    ),
)
"""Sentences of Django that its own catalogue does not have in every language of ours; ours is looked into first."""

PHRASES = (*CHECKS, *TRIAL, *REASONS, *ERRORS, *FORBIDDEN, *FIELDS, *NAMES)
WHOLE = frozenset(phrase for phrase in PHRASES if "%(" not in phrase)


def hole(name: str) -> str:
    if len(name) == 1:
        return r"[\d.]+"
    return r"\S+" if name in ("host", "path") else ".*"


def pattern_of(phrase: str) -> re.Pattern[str]:
    """What recognises a phrase when it is filled."""
    parts = re.split(r"%\((\w+)\)s", phrase)
    parts[::2] = [re.escape(text) for text in parts[::2]]
    parts[1::2] = [f"(?P<{name}>{hole(name)})" for name in parts[1::2]]
    return re.compile("".join(parts), re.DOTALL)


PATTERNS = tuple((phrase, pattern_of(phrase)) for phrase in PHRASES if phrase not in WHOLE)


def said(text: str) -> str:
    """A kept sentence in the reader's language; what is not ours, such as libvirt's own words, stays as it is."""
    if not text:
        return ""
    if text not in WHOLE:
        for phrase, pattern in PATTERNS:
            if found := pattern.fullmatch(text):
                filled = {name: said(value) if value in WHOLE else value for name, value in found.groupdict().items()}
                return gettext(phrase) % filled
    # Those of `services` are marked where they are written.
    return gettext(text)
