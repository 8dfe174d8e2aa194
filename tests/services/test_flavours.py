"""Flavours: what may stand in the list, and what a machine gets that is asked for in one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.people import Cast
from webvirt.models import Flavour
from webvirt.services import flavours
from webvirt.services.catalogue import BY_KIND
from webvirt.services.catalogue.wishes import CreateDomainSpec
from webvirt.services.operations import Invalid, kept, parse_parameters

GIB = 2**30
BIG: dict[str, Any] = {"name": "big", "vcpus": 8, "memory_mib": 16_384, "disk": 100 * GIB, "position": 9}


def spec_of(**given: Any) -> CreateDomainSpec:
    spec = parse_parameters(BY_KIND["domain.create"], {"name": "new"} | given)
    assert isinstance(spec, CreateDomainSpec)
    return spec


def test_the_list_begins_with_the_usual_sizes(cast: Cast) -> None:
    seeded = [(row.name, row.vcpus, row.memory_mib) for row in flavours.flavours()]
    assert seeded == [("XS", 1, 1024), ("S", 2, 2048), ("M", 2, 4096), ("L", 4, 8192), ("XL", 8, 16_384)]


def test_it_is_kept_and_taken_off(cast: Cast) -> None:
    big = flavours.add(BIG)
    assert [row.name for row in flavours.flavours()][-1] == "big"
    flavours.change(big, BIG | {"name": "Bigger", "position": 0, "disk": 0})
    assert [row.name for row in flavours.flavours("BIGG")] == ["Bigger"]
    flavours.remove(big)
    assert not Flavour.objects.filter(name="Bigger").exists()


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"name": " "}, "name", "at least 1 character"),
        ({"name": "a\nb"}, "name", "one line"),
        ({"name": "XL"}, "name", "a flavour of this name"),
        ({"vcpus": 0}, "vcpus", "greater than or equal"),
        ({"memory_mib": 1}, "memory_mib", "greater than or equal"),
        ({"disk": -1}, "disk", "greater than or equal"),
        ({"price": 3}, "price", "not permitted"),
    ],
)
def test_what_is_wrong_is_said_field_by_field(cast: Cast, wrong: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        flavours.add(BIG | wrong)
    assert words in caught.value.fields[field]
    assert not Flavour.objects.filter(name="big").exists()


def test_a_machine_gets_what_its_flavour_says(cast: Cast) -> None:
    flavours.add(BIG)
    spec = spec_of(flavour="big", disks=[{"pool": 1}, {"pool": 1, "size": GIB}])
    assert (spec.vcpus, spec.memory_mib, [disk.size for disk in spec.disks]) == (8, 16_384, [100 * GIB, GIB])


def test_what_is_said_besides_counts(cast: Cast) -> None:
    flavours.add(BIG)
    spec = spec_of(flavour="big", vcpus=3, disks=[{"pool": 1, "size": GIB}])
    assert (spec.vcpus, spec.memory_mib, spec.disks[0].size) == (3, 16_384, GIB)


def test_what_is_kept_of_a_request_does_not_change_with_the_flavour(cast: Cast) -> None:
    big = flavours.add(BIG)
    asked = kept(spec_of(flavour="big", disks=[{"pool": 1}]))
    flavours.remove(big)
    assert "flavour" not in asked
    again = spec_of(**asked)
    assert (again.vcpus, again.disks[0].size) == (8, 100 * GIB)


def test_one_that_nobody_knows_is_refused(cast: Cast) -> None:
    with pytest.raises(Invalid, match="there is no flavour of this name"):
        spec_of(flavour="enormous")
    with pytest.raises(Invalid, match="cannot be kept"):
        spec_of(flavour="small\0")
