"""Sentences about other hypervisors that are kept in English; see `phrases`."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

SOURCE_ERRORS = (
    _("By SSH we sign in with our key: leave out the password, the path and the certificate."),
    _("VMware asks for a user and a password, each of one line."),
    _("The path is names with '/' between them, such as Datacenter/Cluster/esx1.example.org."),
    _("A vCenter needs the path to one of its hosts, and an ESXi has none."),
    _("The definition of this machine is longer than any that is right."),
    _("It did not answer within %(s)s s."),
    _("The libvirt of this installation was built without its driver for VMware: it cannot talk to it."),
    _("The libvirt there has no driver for this: %(why)s"),
    _("The user or the password is not right there."),
    _("Its certificate is not good: %(why)s."),
)
"""What the cellar raises."""

SOURCE_FAILURES = (
    _("No SSH server answers there: %(host)s."),
    _("It has %(n)s disks: %(m)s at most."),
    _("Its disk %(name)s is in no file and no volume there."),
    _("Its disk %(name)s is of the format %(format)s, which cannot be brought."),
    _(
        "Its disk %(file)s is in no running pool there: define a pool for its folder (virsh pool-define-as), start it, "
        "and look again."
    ),
    _("Its disk %(name)s is encrypted."),
    _("Its disk %(name)s is a layer over another image: make it stand alone there first."),
)
"""What the runners fill in before it is kept."""

DATASTORES = (
    _("Its disk is no file of a datastore: %(name)s"),
    _("The server sends something else than the description of a disk (VMDK)."),
    _("Its disk is not one plain file of a datastore: export the machine there as OVA instead."),
)
