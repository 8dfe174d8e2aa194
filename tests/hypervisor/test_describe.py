"""Whatever a person types as title, description or tag is kept as text, or refused: never more than that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.hypervisor.subjects import PREFIX, SUBJECTS, Subject
from webvirt.hypervisor.connection import Connection
from webvirt.hypervisor.errors import InvalidSpec

QEMU = next(subject for subject in SUBJECTS if subject.name == "qemu")
NASTY = st.sampled_from(
    [
        "<b>",
        "</title>",
        "]]>",
        "<![CDATA[",
        "&amp;",
        "&x;",
        "'",
        '"',
        "\0",
        "\n",
        "\r",
        "\t",
        "\u202e",
        "😀",
        "\ufffe",
        "%s",
        " ",
    ]
)
TEXT = st.one_of(st.text(max_size=60), st.lists(NASTY | st.text(max_size=5), max_size=8).map("".join))


@pytest.fixture(scope="module", params=[QEMU], ids=str)
def domain(request: pytest.FixtureRequest) -> Iterator[tuple[Connection, str]]:
    subject: Subject = request.param
    connection = subject.open()
    assert isinstance(connection, Connection)
    uuid = subject.define(connection, f"{PREFIX}described", False)
    yield connection, uuid
    subject.undefine(connection, uuid)
    connection.close()


def paths(xml: str) -> list[str]:
    """The place of every element, but for how many tags there are."""
    tree = etree.fromstring(xml).getroottree()
    found = (tree.getelementpath(element) for element in tree.iter(etree.Element))
    return sorted(path for path in found if not path.startswith("metadata"))


@settings(max_examples=150, deadline=None)
@given(title=TEXT, description=TEXT, tags=st.lists(TEXT, max_size=3))
def test_text_stays_text(domain: tuple[Connection, str], title: str, description: str, tags: list[str]) -> None:
    connection, uuid = domain
    connection.domains.describe(uuid, title="t", description="d", tags=["x"])
    before = connection.domains.read(uuid)
    try:
        connection.domains.describe(uuid, title=title or "t", description=description or "d", tags=tags)
    except InvalidSpec:
        assert connection.domains.read(uuid).inactive_xml == before.inactive_xml, "refused as a whole"
        return
    after = connection.domains.read(uuid)
    assert paths(after.inactive_xml) == paths(before.inactive_xml)
    assert after.inactive is not None
    assert after.inactive.unparsed == ()
    assert after.inactive.title == (title or "t").strip()
    assert after.inactive.description == (description or "d").replace("\r\n", "\n").replace("\r", "\n").strip()
    assert list(after.inactive.tags) == list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
