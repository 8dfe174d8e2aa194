"""Network filters, and the one that a guest's card goes through."""

from __future__ import annotations

import re
from copy import deepcopy
from dataclasses import dataclass

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec, NotFound
from webvirt.hypervisor.types import FilterInfo
from webvirt.hypervisor.xml.build import as_text
from webvirt.hypervisor.xml.parse import Element, attribute, root_of, text

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}", re.ASCII)
"""Of a new filter. libvirt makes a file of that name wherever it leads."""


def parse_filter(xml: str) -> FilterInfo:
    """A filter's definition. Raises InvalidSpec when it is no XML, has a DOCTYPE or is no filter."""
    root = root_of(xml, "filter")
    priority = root.get("priority", "")
    return FilterInfo(
        uuid=text(root, "uuid"),
        name=root.get("name", ""),
        chain=root.get("chain", ""),
        priority=int(priority) if priority.removeprefix("-").isdecimal() else None,
        rules=len(root.findall("rule")),
        references=tuple(reference.get("filter", "") for reference in root.iterfind("filterref")),
        xml=xml,
    )


def checked_filter(xml: str, before: FilterInfo | None) -> str:
    """A filter's XML as it may be sent, its own tree written anew. Raises InvalidSpec.

    `before` is the one that it takes the place of: name and uuid stay, and a missing uuid is put in.
    """
    root = root_of(xml, "filter")
    name, uuid = root.get("name", ""), text(root, "uuid")
    if before is None:
        if not NAME.fullmatch(name):
            raise InvalidSpec("A filter's name is 1 to 100 letters, digits, '_', '.', ':' or '-': put it into the XML.")
        return as_text(root)
    if name != before.name or uuid.lower() not in ("", before.uuid):
        raise InvalidSpec("A filter keeps its name and its uuid: make a new one to have others.")
    if not uuid:
        for element in root.findall("uuid"):
            root.remove(element)
        etree.SubElement(root, "uuid").text = before.uuid
    return as_text(root)


@dataclass(frozen=True)
class CardChange:
    """A guest's network card as it is, the same with its cable out, and as it shall be; each is XML of its own.

    `swaps` says that one filter takes the place of another while the card has its cable in.
    """

    before: str
    unplugged: str
    after: str
    swaps: bool


def card_with_filter(domain_xml: str, mac: str, name: str) -> CardChange:
    """What gives a guest's card that filter, "" for none; the rest of it stays. Raises NotFound."""
    root = root_of(domain_xml, "domain")
    for card in root.iterfind("devices/interface"):
        if attribute(card, "mac", "address").lower() == mac.lower():
            return change_of(card, name)
    raise NotFound("The machine has no network card of that MAC address.")


def change_of(card: Element, name: str) -> CardChange:
    is_in = attribute(card, "link", "state") != "down"
    swaps = is_in and bool(name) and attribute(card, "filterref", "filter") not in ("", name)
    unplugged, after = deepcopy(card), deepcopy(card)
    link = unplugged.find("link")
    if link is None:
        link = etree.SubElement(unplugged, "link")
    link.set("state", "down")
    set_filter(after, name)
    return CardChange(as_text(card), as_text(unplugged), as_text(after), swaps)


def set_filter(card: Element, name: str) -> None:
    """What a filter is told of the card, such as its addresses, is kept for the next filter."""
    reference = card.find("filterref")
    if not name:
        if reference is not None:
            card.remove(reference)
        return
    if reference is None:
        reference = etree.SubElement(card, "filterref")
    reference.set("filter", name)
