"""Pieces of XML made for libvirt, always through an element tree."""

from __future__ import annotations

import re
from collections.abc import Iterable

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec

NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, however it is written. libvirt would keep some of it and never read it back."""


def check_text(text: str) -> None:
    """Raise InvalidSpec for text that no XML can hold."""
    found = NOT_XML.search(text)
    if found:
        raise InvalidSpec(f"The character U+{ord(found.group()):04X} cannot be kept in a definition: take it out.")


def one_line_end(text: str) -> str:
    """The text with the one kind of line end that XML knows; a browser sends another."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_text(element: etree._Element) -> str:
    """An element alone, as XML."""
    return etree.tostring(element, encoding="unicode", with_tail=False)


def tags_element(tags: Iterable[str]) -> str:
    """`<tags><tag>prod</tag></tags>`, as libvirt keeps it in a domain's metadata under our namespace."""
    root = etree.Element("tags")
    for tag in tags:
        check_text(tag)
        etree.SubElement(root, "tag").text = tag
    return as_text(root)
