"""The definitions of secrets. Their values stand in no XML."""

from __future__ import annotations

from lxml import etree

from webvirt.hypervisor.errors import InvalidSpec
from webvirt.hypervisor.types import SecretInfo, SecretSpec, SecretUsage
from webvirt.hypervisor.xml.build import as_text, check_text
from webvirt.hypervisor.xml.parse import attribute, root_of, text

NAMED_BY = {
    SecretUsage.CEPH: "name",
    SecretUsage.ISCSI: "target",
    SecretUsage.VOLUME: "volume",
    SecretUsage.TLS: "name",
    SecretUsage.VTPM: "name",
}
"""The element that says what a secret belongs to."""


def parse_secret(xml: str) -> SecretInfo:
    """A secret's definition. Raises InvalidSpec when it is none."""
    root = root_of(xml, "secret")
    usage = root.find("usage")
    return SecretInfo(
        uuid=text(root, "uuid"),
        usage=attribute(root, "usage", "type") or SecretUsage.NONE,
        usage_id="" if usage is None else next(((each.text or "").strip() for each in usage), ""),
        description=text(root, "description"),
        ephemeral=root.get("ephemeral") == "yes",
        private=root.get("private") == "yes",
    )


def build_secret(spec: SecretSpec, uuid: str) -> str:
    """The XML of a secret. Raises InvalidSpec, with a sentence for the person::

        <secret ephemeral="no" private="yes">
          <uuid>...</uuid>
          <description>of the office's Ceph</description>
          <usage type="ceph"><name>client.libvirt secret</name></usage>
        </secret>

    It is always private: libvirt and its guests can use its value, and no client can have it back.
    """
    check_spec(spec)
    root = etree.Element("secret", ephemeral="yes" if spec.ephemeral else "no", private="yes")
    etree.SubElement(root, "uuid").text = uuid
    if spec.description:
        etree.SubElement(root, "description").text = spec.description
    if spec.usage != SecretUsage.NONE:
        usage = etree.SubElement(root, "usage", type=spec.usage)
        etree.SubElement(usage, NAMED_BY[spec.usage]).text = spec.usage_id
    return as_text(root)


def check_spec(spec: SecretSpec) -> None:
    for each in (spec.description, spec.usage_id):
        check_text(each)
        if each != each.strip() or "\n" in each or "\r" in each:
            raise InvalidSpec("A secret's description and name are each one line, without spaces around it.")
    if (spec.usage == SecretUsage.NONE) == bool(spec.usage_id):
        raise InvalidSpec("Say what the secret belongs to; one for nothing in particular belongs to nothing.")
    if spec.usage == SecretUsage.VOLUME and not spec.usage_id.startswith("/"):
        raise InvalidSpec("A volume's secret is named by the volume's path: begin it with '/'.")
