"""What the label of a CD or DVD says of it: the primary volume descriptor of ISO 9660, or ECMA-119.

Its bytes are whatever somebody uploaded. Nothing in them is an error: what is no label is None, and what a label says
comes out as short printable text.
"""

from __future__ import annotations

from webvirt.hypervisor.types import DiscLabel

LABEL_AT = 32 * 1024
"""Where a disc's first descriptor begins."""
LABEL_BYTES = 2048
MAGIC = b"CD001"
PRIMARY = 1


def label_of(data: bytes) -> DiscLabel | None:
    """What the `LABEL_BYTES` at `LABEL_AT` say; None where these are no disc's. A disc may say nothing of itself."""
    if data[1:6] != MAGIC:
        return None
    if data[0] != PRIMARY:
        return DiscLabel()
    data = data.ljust(LABEL_BYTES, b"\0")
    blocks, block = int.from_bytes(data[80:84], "little"), int.from_bytes(data[128:130], "little")
    return DiscLabel(
        volume_id=words_of(data[40:72]),
        system_id=words_of(data[8:40]),
        publisher_id=words_of(data[318:446]),
        application_id=words_of(data[574:702]),
        size=blocks * block,
    )


def words_of(field: bytes) -> str:
    """The text in a field that is filled up with spaces or zeros."""
    return "".join(chr(byte) for byte in field if 0x20 <= byte < 0x7F).strip()
