"""What an LDAP server is asked, and what it answers: between us and the child that asks (`services.ldapchild`)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Question:
    """`encrypted` is whether `ldap://` begins with STARTTLS; `person_filter` holds `{name}`; `groups` are the names of
    groups that matter, each a DN or a cn."""

    url: str
    encrypted: bool
    ca_file: str
    bind_dn: str
    password_file: str
    people_base: str
    person_filter: str
    groups_base: str
    name: str
    password: str
    groups: list[str]


@dataclass(frozen=True)
class Answer:
    """Whether the password is right, and whose it is: what they are called there, what they are known by for ever, and
    those of the groups asked for that they are in. `trouble` is why the server could not be asked."""

    right: bool = False
    called: str = ""
    subject: str = ""
    groups: list[str] = field(default_factory=list)
    trouble: str = ""
