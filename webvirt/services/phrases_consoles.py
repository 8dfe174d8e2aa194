"""What the console proxy finds on the way to a guest; see `phrases`."""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

CONSOLES = (
    _("the console proxy failed; see its log"),
    _("the host did not answer within %(n)s s"),
    _("ssh was not there within %(n)s s"),
    _("the guest's process did not answer within %(n)s s"),
    _("the display listens on %(host)s itself only"),
    _("the machine has a display of type %(type)s, not vnc"),
    _("%(path)s is there, and sshd does not lead to it"),
    _("the display does not answer: %(why)s"),
    _("the display took the connection and hung up"),
    _("the display took the connection and did not greet within %(n)s s"),
    _("the display moved while it was opened"),
    _("what answers is no VNC display"),
    _("the display offers no TLS any more"),
    _("the display speaks another version of VeNCrypt than 0.2"),
    _("the display shows no certificate, or asks for a user (VeNCrypt %(kinds)s)"),
    _("the display does not want to speak TLS with us"),
    _("the display ends the TLS: %(why)s"),
    _("the display's certificate is not good for %(host)s: %(why)s"),
    _("the certificates for TLS cannot be read: %(why)s"),
)
