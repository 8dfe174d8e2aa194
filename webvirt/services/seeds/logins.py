"""How somebody gets into a guest: public keys of SSH, and passwords as a system keeps them."""

from __future__ import annotations

import base64
import binascii
import re

from passlib.hash import sha512_crypt

FIELDS = {
    "ssh-ed25519": 2,
    "ssh-rsa": 3,
    "ecdsa-sha2-nistp256": 3,
    "ecdsa-sha2-nistp384": 3,
    "ecdsa-sha2-nistp521": 3,
    "sk-ssh-ed25519@openssh.com": 3,
    "sk-ecdsa-sha2-nistp256@openssh.com": 4,
}
"""Of how many fields a key of each type is made, its type's name included: RFC 4253, 5656, 8709, OpenSSH's own."""
LONGEST_KEY = 16 * 1024
ROUNDS = 100_000
"""Of SHA-512, about 50 ms: twenty times what systems take by themselves, for a hash that lies on a disc in a pool."""
LONGEST_PASSWORD = 256
"""As much as every system's crypt(3) takes."""
HASH = re.compile(r"\$(?:5|6|y|2[aby])\$[./A-Za-z0-9$=,]{20,250}", re.ASCII)
"""SHA-256, SHA-512, yescrypt and bcrypt, as crypt(3) writes them."""


def check_ssh_key(text: str) -> str:
    """A public key as `authorized_keys` holds it, its blanks put in order; ValueError where it is not just that.

    Options before the key are refused: they can run commands, and a form that asks for a key is no place for them.
    """
    line = text.strip()
    if not line.isprintable() or len(line) > LONGEST_KEY:
        raise ValueError("An SSH key is one line, such as the one in id_ed25519.pub.")
    kind, _, rest = line.partition(" ")
    if kind not in FIELDS:
        known = ", ".join(FIELDS)
        raise ValueError(f"An SSH key begins with its type, with no options before it. These are known: {known}.")
    encoded, _, comment = rest.strip().partition(" ")
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    fields = fields_of(data)
    if len(fields) != FIELDS[kind] or not all(fields) or fields[0] != kind.encode():
        raise ValueError(f"This is no {kind} key, or not the whole of one: copy the line again.")
    return f"{kind} {encoded} {comment.strip()}".strip()


def fields_of(data: bytes) -> list[bytes]:
    """The fields of a key, each after its length in four bytes; none where these do not end with the data."""
    fields, at = [], 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return []
        fields.append(data[at + 4 : end])
        at = end
    return fields


def check_password(text: str) -> None:
    """Raise ValueError, with a sentence for the person, for what nobody could type where it is asked for."""
    if not text.isprintable() or len(text.encode()) > LONGEST_PASSWORD:
        raise ValueError(f"A password is one line of at most {LONGEST_PASSWORD} bytes.")


def hash_password(text: str) -> str:
    """A password as /etc/shadow holds it: SHA-512 (`$6$`), which every Linux and BSD knows. ValueError for none."""
    if not text:
        raise ValueError("Enter a password.")
    check_password(text)
    hashed: str = sha512_crypt.using(rounds=ROUNDS).hash(text)
    return hashed


def check_password_hash(text: str) -> None:
    """Raise ValueError unless it is a hash: whoever hands over a password itself would show it to all."""
    if not HASH.fullmatch(text):
        raise ValueError("The password is not hashed as crypt(3) does, with $6$ at its beginning.")
