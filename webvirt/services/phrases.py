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

from webvirt.services.phrases_machines import APPLIANCES, MACHINES, SEEDS
from webvirt.services.phrases_names import NAMES

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
    _("the host shows the key that was confirmed: %(keys)s"),
    _("signed in"),
    _("ssh failed"),
    _("the host does not accept our key"),
    _("hosts are known by the authority %(name)s"),
    _("the authority's certificate is not understood: %(why)s"),
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
    _("Compare with what the host says of itself (there: %(command)s), then confirm it on its page."),
    _(
        "Only if you know why: compare with what the host says of itself (there: %(command)s), then confirm it on its "
        "page."
    ),
    _("Edit the address and enter user and password as libvirt there has them: saslpasswd2 -a libvirt %(user)s"),
    _(
        "Put the CA's certificate, and a client certificate of it with its key, as %(names)s into %(path)s. "
        "How to make them: %(guide)s"
    ),
    _("See that both certificates are of one CA and name their hosts: %(guide)s"),
    _("Update libvirt there: %(version)s is the oldest that we know."),
    # After the others, which it would take for commands.
    _("There: %(command)s"),
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
    _("The machine has a display of type %(type)s, and none that speaks VNC."),
    _("The connection was closed."),
    _("An earlier attempt to connect still hangs: libvirt does not answer there."),
    _("libvirt did not answer within %(s)s s."),
    _("%(host)s port %(n)s: no answer within %(s)s s."),
    _("%(host)s port %(n)s: %(why)s"),
    _("ssh-keygen made no key: %(why)s"),
    _("ssh refuses the host: its key is not the one that was confirmed."),
    _("The host's certificate is not signed by the authority that is trusted, or names another host."),
    _("Nobody has confirmed the host's key yet."),
    _("Nobody has confirmed the host's key yet; it shows %(keys)s."),
    _("The host's key has changed: it was %(before)s, it shows %(keys)s."),
    _("That is no key of a host."),
    _("The machine has no display."),
    _("The machine has no serial line."),
    _("Somebody else reads this line, such as “virsh console”: end that first."),
    _("The machine is not running."),
    _("There is no saved memory any more."),
    _("The host sent no picture of the screen."),
    _("A title is one line."),
    _("The character U+%(code)s cannot be kept in a definition: take it out."),
    _("XML with a DOCTYPE is refused."),
    _("Not a %(tag)s: the XML begins with <%(other)s>."),
    _("Not understood as XML: %(why)s"),
    _("A local connection has no host name, port, user or password: leave them empty."),
    _("The host name must be a DNS name or an IP address, such as vm1.example.org or 192.0.2.7."),
    _("The port must be between 1 and 65535."),
    _("SSH takes no password: it signs in with our key."),
    _("A password needs the user that it belongs to."),
    _("The password must be one line of at most 256 characters."),
    _("The user must be a plain account name: small letters, digits, '_' and '-'."),
    _("The name must be 1 to %(n)s printable characters without '/', and begin with a letter or digit."),
    _("Name either the host's bridge or the interfaces that guests go out by."),
    _("The forward mode %(mode)s has no setting '%(setting)s': leave it out."),
    _("A bridge's name is 1 to 15 letters, digits, '_', '.' or '-', such as virbr1."),
    _("Each device can be named only once."),
    _("Name one interface to go out by, or none to let the host choose."),
    _("This forward mode needs a device of the host: name one."),
    _("An interface's name is 1 to 15 letters, digits, '_', '.' or '-', such as eth0."),
    _("Name one interface with virtual functions, or the functions' PCI addresses."),
    _("The domain must be a DNS name, such as lab.example.org."),
    _("The MTU must be between 68 and 65535 bytes; 0 leaves it to the host."),
    _("Of virtual ports only openvswitch can be set here: edit the XML for others."),
    _("VLAN tags are different numbers between 1 and 4094."),
    _("This forward mode carries one VLAN: name only one tag."),
    _("A limit is a number of KiB; 0 sets none."),
    _("A peak or burst needs an average: set one."),
    _("The peak must not be below the average."),
    _("A network that forwards needs an address of its own: give it one."),
    _("An address must be IPv4 or IPv6, such as 192.168.100.1 or fd00:100::1."),
    _("The prefix of %(address)s must be between 1 and %(n)s."),
    _("%(address)s cannot be a host's own address: choose another in that network."),
    _("%(address)s and %(other)s overlap: give the network addresses that are apart."),
    _("Addresses can be handed out on one IPv4 and one IPv6 address of a network only."),
    _("A DHCP range must begin and end within %(network)s, its lower end first."),
    _("The DHCP range must leave out %(address)s, the host's own address."),
    _("A DHCP range holds %(n)s addresses at most: make it shorter."),
    _("DHCP ranges of a network must not overlap."),
    _("IPv6 addresses can be handed out only where the prefix is 64 or more."),
    _("%(address)s cannot be kept for a guest: choose a free address in %(network)s."),
    _("A MAC address is six pairs of hexadecimal digits, the first even, such as 52:54:00:12:34:56."),
    _("A guest's name must be a DNS name that begins with a letter."),
    _("A DUID is pairs of hexadecimal digits, such as 00:03:00:01:52:54:00:12:34:56."),
    _("A static IPv4 lease is found by a MAC address or a name: give one, and no DUID."),
    _("A static IPv6 lease is found by a DUID or a name: give one, and no MAC address."),
    _("Two static leases share a MAC address, an address, a name or a DUID: each needs its own."),
    _("Each name for %(address)s must be a DNS name, such as mail.example.org."),
    _("Each address can stand once among the DNS hosts: put its names together."),
    _("Without DNS no names are answered: switch it on, or leave out its hosts."),
    _("A network keeps its name: make a new one to have another."),
    _("The network was changed meanwhile: look at it again, then change it."),
    _("The network is gone when it stops: make one that is kept."),
    _("The network is running: stop it first."),
    _("The address is in none of the network's own: choose another."),
    _("The network keeps no such address."),
    _("A filter's name is 1 to 100 letters, digits, '_', '.', ':' or '-': put it into the XML."),
    _("A filter keeps its name and its uuid: make a new one to have others."),
    _("There is a filter of that name or uuid already: edit that one."),
    _("The filter was changed or taken away meanwhile: look at it again, then change it."),
    _("The machine has no network card of that MAC address."),
    _("A secret needs a value: enter one."),
    _("A secret's description and name are each one line, without spaces around it."),
    _("Say what the secret belongs to; one for nothing in particular belongs to nothing."),
    _("A volume's secret is named by the volume's path: begin it with '/'."),
    _("Not a size in %(unit)s: %(size)s"),
    _("A pool of type %(type)s needs this part: %(part)s."),
    _("A pool of type %(type)s has no such part: %(part)s."),
    _("The source format must be one of these: %(names)s."),
    _("The source name may hold letters, digits, '.', '_', '+' and '-', and '/' between two names."),
    _("The name may hold 1 to 120 letters, digits, '.', '_' and '-', and begins with a letter or digit."),
    _("A path begins with one '/', is one line and does not end with a space."),
    _("A path holds no '.', no '..', no '//' and no '/' at its end."),
    _("The target path of a volume group is /dev/ and its name: leave it empty."),
    _("This folder belongs to the host's own system: %(folder)s"),
    _("A CIFS share is told by its name, without '/' before it."),
    _("Too many devices for a pool of type %(type)s."),
    _("An iSCSI target has a name such as iqn.2004-04.org.example:disks."),
    _("A device is a path in /dev."),
    _("To sign in takes both a user and a secret."),
    _("The user may hold letters, digits, '.', '_', ':', '@' and '-'."),
    _("A secret is named by its UUID."),
    _("A volume needs a size in bytes."),
    _("Tell the format of the volume, such as qcow2 or raw."),
    _("A backing volume is told by its path and its format."),
    _("Tell the format of the backing volume, such as qcow2 or raw."),
    _("An image of format %(format)s may name any file of the host: it is left alone."),
    _("The host has not looked at this image since it was written: refresh its pool."),
    _("This is no qcow2 image, though the host takes it for one."),
    _("The image keeps its data in another file of the host: it is left alone."),
    _("The image is based on another file: it is left alone."),
    _("The backing volumes build on one another without end."),
    _("The backing file is in no running pool of the host: %(file)s"),
    _("It has %(n)s bytes and cannot be cut to %(m)s: what is at its end would be lost."),
    _("Only qcow2 has tables that can be made beforehand."),
    _("An encrypted raw volume takes its space as it is written: libvirt does not fill it before."),
    _("The host does not know any more with which secret this volume is encrypted."),
    _("This volume is encrypted, so nothing can be built on it: %(file)s"),
    _("There is a volume of that name already: %(name)s"),
    *MACHINES,
)
"""What `hypervisor` raises in words of ours; libvirt's own stay libvirt's."""

INTERFACES = (
    _("The host talks to itself on it."),
    _("It is a guest's own."),
    _("Wireless: it carries no cards of guests."),
    _("It is a port of another interface: use that one."),
)
"""Why no guest can be put on an interface of the host."""

POOL_PARTS = (
    _("target path"),
    _("host"),
    _("port"),
    _("more hosts"),
    _("exported path"),
    _("source name"),
    _("devices"),
    _("source format"),
    _("user"),
    _("secret"),
)
"""What sentences about pools call their parts."""

FORBIDDEN = (
    _("it is still being made"),
    _("it was left half made, and is being removed"),
    # Before the one below, which would take it for a name.
    _("it is a disk of the template %(names)s"),
    _("it is a disk of %(names)s"),
    _("these images are based on it: %(names)s"),
    _("%(names)s runs on it: shut it down first"),
    _("%(names)s runs on its volumes: shut it down first"),
    _("there are %(n)s volumes in it: delete them first"),
    _("%(names)s is connected to it"),
    _("cards of %(names)s go through it"),
    _("%(names)s signs in with it"),
    _("%(names)s is encrypted with it"),
    _("%(names)s needs it"),
    _("these filters take it in: %(names)s"),
    _("linked clones need it: %(names)s"),
    _("it is a template already"),
    _("a transient machine is gone when it is off"),
    _("%(names)s has one of its disks too"),
    _("it is no template"),
    _("This is no template."),
    _("That template is on another host: its versions are together on one."),
    _("There are versions of another template of this name: rename this one first."),
)
"""Why something must be left alone, or as it is: the reasons of `uses` and `templates`."""

FAILURES = (
    _("It cannot be done any more: %(reason)s."),
    _("The pool has not enough room: %(gib)s GiB are missing."),
    _("%(n)s machines asked, %(m)s of %(k)s left in project %(project)s"),
    _("%(n)s vCPUs asked, %(m)s of %(k)s left in project %(project)s"),
    _("%(n)s GiB of memory asked, %(m)s of %(k)s GiB left in project %(project)s"),
    _("%(n)s GiB of disk asked, %(m)s of %(k)s GiB left in project %(project)s"),
    _("The file is not what it should be: its SHA-256 is %(digest)s."),
    _("The file is not what it should be: its checksum is %(digest)s."),
    _("In that pool a volume is the disk itself, and this one is an image of format %(format)s."),
    _(
        "Make a secret for an encrypted volume that names its path, %(path)s, with the passphrase that it has, and "
        "refresh the pool: then libvirt knows it, and does not forget it."
    ),
    _("The list of checksums does not tell one of this file: %(file)s."),
    _("There is no server of that name: %(host)s."),
    _("%(host)s is not on the public internet, and nothing is fetched from other networks."),
    _("The connection broke (%(why)s), and the server cannot go on in the middle."),
    _("The connection broke too often: %(why)s."),
    _("The server does not answer: %(why)s."),
    _("The server answers %(n)s."),
    _("The server's certificate is not good: %(why)s."),
    _("There is another machine of its name, %(name)s, by now."),
    _("It was made, but does not start: %(reason)s"),
    _("The host takes the image for %(format)s, and it is %(kind)s."),
)
"""What runners fill in before it is kept: why an operation failed."""

FIELDS = (
    _("holds characters that cannot be kept (control characters)"),
    _("must be one line"),
    _("is 64 hexadecimal digits"),
    _("is 64 hexadecimal digits (SHA-256) or 128 (SHA-512)"),
    _("an address needs the card, the name or the DUID that it is kept for"),
    _("must not start with '.' or '-', nor hold '/', nor begin or end with a space"),
    _("a tag is 1 to 40 letters, digits, '.', '_' or '-', unlike %(tag)s"),
    _("is 1 to 120 letters, digits, '.', '_' or '-', and begins with a letter or digit"),
    _("give the checksum, or the address of a list that holds it, not both"),
    _("is a short id of osinfo, such as debian12"),
    _("is an architecture, such as x86_64"),
    _("is the name of a Unix user, such as debian"),
    _("The value is not Base64."),
    _("Over TCP anybody on the way can read and change everything: say that this is meant, or choose SSH or TLS."),
    _("the range of numbers runs backwards"),
    _("at most %(n)s at once"),
    _("a card is on a network or on a bridge: name one of them"),
    _("say which volume it begins with"),
    _("say which kernel it begins with"),
    _("to boot from the network it needs a card"),
    _("say in which pool the disk that is made of the image goes"),
    _("say how large the disk is"),
    _("it begins with a volume or with an image of the catalogue: name one of them"),
    _("give the address of the tree, or that of the kernel"),
    _("say in which pool the disk is that it is installed on"),
    _("the installer's kernel is for the first start alone: have it started at once"),
    _("there is no flavour of this name"),
    _("a password is for the user of the settings at the first start"),
    _("say once what becomes of each disk"),
    _("where its cards are is said for another host: name that"),
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
    _("Input should be '%(choice)s'"),
    _("Input should be greater than or equal to %(n)s"),
    _("Input should be less than or equal to %(n)s"),
    _("String should match pattern '%(pattern)s'"),
    _("String should have at least %(n)s character"),
    _("String should have at most %(n)s characters"),
    # Of hidden values, whose items are characters.
    _("Value should have at least %(n)s item after validation, not %(m)s"),
    _("Value should have at most %(n)s items after validation, not %(m)s"),
    _("List should have at least %(n)s item after validation, not %(m)s"),
    _("List should have at most %(n)s items after validation, not %(m)s"),
)
"""What is wrong with a verb's parameters."""

PACKAGES = (
    ngettext_lazy(
        "This password is too short. It must contain at least %d character.",
        "This password is too short. It must contain at least %d characters.",
    ),
)
"""Sentences of Django that its own catalogue does not have in every language of ours; ours is looked into first."""

PHRASES = (
    *CHECKS,
    *TRIAL,
    *REASONS,
    *ERRORS,
    *SEEDS,
    *APPLIANCES,
    *INTERFACES,
    *POOL_PARTS,
    *FORBIDDEN,
    *FAILURES,
    *FIELDS,
    *NAMES,
)
WHOLE = frozenset(phrase for phrase in PHRASES if "%(" not in phrase)


NESTED = ("reason", "names", "rights", "there", "before", "keys", "part", "setting", "what")
"""Holes that hold phrases; what is in the others was called so by somebody, if only by libvirt, and stays."""


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
                parts = found.groupdict().items()
                return gettext(phrase) % {name: said(value) if name in NESTED else value for name, value in parts}
    # Those of `services` are marked where they are written.
    return gettext(text)
