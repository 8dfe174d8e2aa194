"""`python -m webvirt.services.ldapchild`: asks one LDAP server whose name and password these are, and which groups.

A process of its own, which `services.ldapdirectory` starts and ends: a server that answers nothing while TLS begins,
and a name server that hangs, hold OpenLDAP's library for ever, whatever time it was given. It knows no Django, and is
all that loads that library. A `Question` comes in on standard input and an `Answer` goes out, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import ldap
from ldap.cidict import cidict
from ldap.dn import dn2str, str2dn
from ldap.filter import escape_filter_chars

from webvirt.services.ldapterms import Answer, Question
from webvirt.services.spelling import folded

SECONDS = 3
"""The longest that one step with the server may take."""
NAMES = ("sAMAccountName", "uid")
IN_CHAIN = "1.2.840.113556.1.4.1941"
"""Active Directory's rule for members of members."""
GONE = (ldap.SERVER_DOWN, ldap.CONNECT_ERROR, ldap.TIMEOUT, ldap.UNAVAILABLE, ldap.BUSY)


@dataclass(frozen=True)
class Entry:
    dn: str
    values: Any

    def first(self, name: str) -> str:
        """The first value of an attribute; empty where there is none."""
        found = self.values.get(name) or [b""]
        return str(found[0].decode(errors="replace"))

    @property
    def is_windows(self) -> bool:
        return "objectGUID" in self.values

    @property
    def subject(self) -> str:
        """What stays the same whatever the entry is called, if the server has such a thing."""
        if "entryUUID" in self.values:
            return f"uuid:{self.first('entryUUID').lower()}"
        if self.is_windows:
            return f"guid:{UUID(bytes_le=self.values['objectGUID'][0])}"
        return f"dn:{spelled(self.dn)}"


def main() -> None:
    json.dump(asdict(answer(Question(**json.load(sys.stdin)))), sys.stdout)


def answer(question: Question) -> Answer:
    try:
        with connected(question) as link:
            return asked(link, question)
    except (ldap.LDAPError, OSError) as error:
        return Answer(trouble=told_by(error))


def told_by(error: Exception) -> str:
    """What is known of an error; never what was sent."""
    known = error.args[0] if error.args and isinstance(error.args[0], dict) else {"desc": str(error)}
    return ", ".join(filter(None, (type(error).__name__, known.get("desc", ""), known.get("info", ""))))


@contextmanager
def connected(question: Question) -> Iterator[Any]:
    link = ldap.initialize(question.url)
    link.timeout = SECONDS
    for option, value in options(question):
        link.set_option(option, value)
    try:
        if question.encrypted and question.url.startswith("ldap://"):
            link.start_tls_s()
        yield link
    finally:
        link.unbind_ext()


def options(question: Question) -> Iterator[tuple[int, Any]]:
    yield ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3
    yield ldap.OPT_NETWORK_TIMEOUT, SECONDS
    yield ldap.OPT_TIMEOUT, SECONDS
    # It would go to servers that nobody named, with the password.
    yield ldap.OPT_REFERRALS, 0
    yield ldap.OPT_X_TLS_REQUIRE_CERT, ldap.OPT_X_TLS_DEMAND
    if os.path.exists(question.ca_file):
        yield ldap.OPT_X_TLS_CACERTFILE, question.ca_file
    yield ldap.OPT_X_TLS_NEWCTX, 0


def asked(link: Any, question: Question) -> Answer:
    """Finds the entry, then signs in as it: whoever can has the right password."""
    sign_in(link, question)
    entry = entry_of(link, question)
    if entry is None:
        return Answer()
    called = next((text for text in map(entry.first, NAMES) if text), question.name)
    if not is_right(link, entry, question.password):
        return Answer(called=called)
    sign_in(link, question)
    return Answer(True, called, entry.subject, groups_of(link, entry, question))


def sign_in(link: Any, question: Question) -> None:
    """As who asks; where that is nobody in particular, it stays as it is."""
    if question.bind_dn:
        link.simple_bind_s(question.bind_dn, Path(question.password_file).read_text().strip())


def is_right(link: Any, entry: Entry, password: str) -> bool:
    if not password:
        # A server takes an empty one for somebody who does not want to say who they are, and lets them in.
        return False
    try:
        link.simple_bind_s(entry.dn, password)
    except GONE:
        raise
    except ldap.LDAPError:
        return False
    return True


def entry_of(link: Any, question: Question) -> Entry | None:
    """The one entry of this name; None where there is none, or several."""
    wanted = question.person_filter.replace("{name}", escape_filter_chars(question.name))
    try:
        found = searched(link, question.people_base, wanted, ["entryUUID", "objectGUID", *NAMES], most=2)
    except ldap.SIZELIMIT_EXCEEDED:
        return None
    return found[0] if len(found) == 1 else None


def searched(link: Any, base: str, wanted: str, attributes: list[str], most: int = 0) -> list[Entry]:
    """The entries below `base`; what only says where else to look is left out."""
    rows = link.search_ext_s(base, ldap.SCOPE_SUBTREE, wanted, attributes, timeout=SECONDS, sizelimit=most)
    return [Entry(dn, cidict(values)) for dn, values, *_rest in rows if dn]


# --- groups


def groups_of(link: Any, entry: Entry, question: Question) -> list[str]:
    """Those of the groups asked for that the entry is in. A cn that looks like a DN is none: nobody passes for it."""
    dn, uid = escape_filter_chars(entry.dn), escape_filter_chars(entry.first("uid"))
    parts = [f"(member={dn})", f"(uniqueMember={dn})"]
    if entry.is_windows:
        parts.append(f"(member:{IN_CHAIN}:={dn})")
    if uid:
        parts.append(f"(&(objectClass=posixGroup)(memberUid={uid}))")
    found = searched(link, question.groups_base, f"(|{''.join(parts)})", ["cn"])
    dns = {spelled(group.dn) for group in found}
    names = {tidy(value.decode(errors="replace")) for group in found for value in group.values.get("cn", [])}
    return [name for name in question.groups if (spelled(name) in dns if is_dn(name) else tidy(name) in names)]


def is_dn(name: str) -> bool:
    try:
        return "=" in name and bool(str2dn(name))
    except ldap.DECODING_ERROR:
        return False


def spelled(dn: str) -> str:
    """A DN, the same for all ways to write it."""
    parts = ([(kind.lower(), tidy(value), flags) for kind, value, flags in part] for part in str2dn(dn))
    return str(dn2str([sorted(part) for part in parts]))


def tidy(value: str) -> str:
    """As servers compare names: whatever the case, and how much space there is."""
    return re.sub(r"\s+", " ", folded(value)).strip()


if __name__ == "__main__":
    main()
