"""Templates, their versions, and what linked clones need of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.people import make_domain, make_host, make_volume
from tests.services.cloned import FILES, KIND, host, machine, template
from tests.services.conftest import GIB, FakeHost
from tests.services.test_bin import again, reconcile
from tests.services.test_creation import made, wish
from webvirt.hypervisor.types import DomainState
from webvirt.models import Domain, Grant, OperationState, Role, Status
from webvirt.services import inventory, operations, templates
from webvirt.services.catalogue import BY_KIND, VERBS, Group, why_not

__all__ = ["host", "machine", "template"]

S = OperationState


def test_a_template_does_not_start_with_its_host_nor_at_all(alpha: FakeHost, machine: Domain) -> None:
    alpha.do("domain.autostart", machine, enabled=True)
    assert alpha.do("domain.to_template", again(machine)).state == S.SUCCEEDED
    row = again(machine)
    assert (row.is_template, row.autostart, made(alpha).autostart) == (True, False, False)
    for kind, more in (("domain.start", {}), ("domain.autostart", {"enabled": True})):
        with pytest.raises(operations.NotNow, match="it is a template, and those never run"):
            alpha.ask(kind, row, **more)
    assert alpha.do("domain.edit", row, title="Gold").state == S.SUCCEEDED
    assert alpha.do("domain.from_template", row).state == S.SUCCEEDED
    assert alpha.ask("domain.start", again(machine)).is_active


def test_every_verb_that_has_a_machine_run_is_none_for_a_template() -> None:
    running = {verb.kind for verb in VERBS if verb.on == "domain" and verb.group == Group.START}
    assert {verb.kind for verb in VERBS if verb.writes} == running | {"domain.autostart"}


def test_started_behind_our_back_it_can_be_stopped(alpha: FakeHost, template: Domain) -> None:
    alpha.connection.domains.known[template.uuid].state = DomainState.RUNNING
    reconcile(alpha)
    row = again(template)
    assert (row.is_template, row.status) == (True, Status.RUNNING)
    with pytest.raises(operations.NotNow, match="shut it down first"):
        alpha.ask(KIND, row, name="new-2")
    assert alpha.ask("domain.destroy", row).is_active


NEEDED = ("domain.delete", "domain.purge", "domain.from_template")


@pytest.mark.parametrize("kind", NEEDED)
def test_a_template_stays_while_linked_clones_need_it(alpha: FakeHost, template: Domain, kind: str) -> None:
    operation = alpha.ask(kind, template)
    operations.cancel(operation)
    for name in ("shop-2", "shop-1"):
        assert alpha.do(KIND, template, name=name).state == S.SUCCEEDED
    with pytest.raises(operations.NotNow, match="linked clones need it: shop-1, shop-2"):
        alpha.ask(kind, again(template))
    for name in ("shop-1", "shop-2"):
        assert alpha.do("domain.purge", Domain.objects.get(name=name)).state == S.SUCCEEDED
    assert alpha.do(kind, again(template)).state == S.SUCCEEDED


@pytest.mark.parametrize("kind", NEEDED)
def test_a_clone_that_came_while_it_waited_is_not_overlooked(alpha: FakeHost, template: Domain, kind: str) -> None:
    operation = alpha.ask(kind, template)
    base = alpha.volume("new-1.qcow2")
    make_volume(alpha.pool, "above.qcow2", backing_path=base.path)
    alpha.carry_out(operation)
    assert (operation.state, operation.error) == (
        S.FAILED,
        "It cannot be done any more: linked clones need it: above.qcow2.",
    )
    assert made(alpha).uuid == template.uuid


def test_its_disks_are_neither_resized_nor_wiped_nor_deleted(alpha: FakeHost, template: Domain) -> None:
    disk = alpha.volume("new-1.qcow2")
    for kind, more in (("volume.resize", {"capacity": 9 * GIB}), ("volume.wipe", {}), ("volume.delete", {})):
        with pytest.raises(operations.NotNow, match="it is a disk of"):
            alpha.ask(kind, disk, **more)
    alpha.do("domain.from_template", template)
    assert alpha.do("volume.resize", alpha.volume("new-1.qcow2"), capacity=9 * GIB).state == S.SUCCEEDED


def test_a_disk_that_became_a_templates_is_not_resized(alpha: FakeHost, machine: Domain) -> None:
    operation = alpha.ask("volume.resize", alpha.volume("new-1.qcow2"), capacity=9 * GIB)
    inventory.mark_template(machine, True)
    alpha.carry_out(operation)
    assert (operation.state, "it is a disk of the template new-1" in operation.error) == (S.FAILED, True)


def test_what_another_machine_writes_to_is_no_templates(alpha: FakeHost, machine: Domain) -> None:
    other = make_domain(machine.host, "other", 71)
    other.disk_uses.create(slot="vda", path=f"{FILES}/new-1.qcow2")
    with pytest.raises(operations.Invalid, match="other has one of its disks too"):
        alpha.ask("domain.to_template", machine)
    other.disk_uses.update(path="/srv/x")
    operation = alpha.ask("domain.to_template", machine)
    other.disk_uses.update(path=f"{FILES}/new-1.qcow2")
    alpha.carry_out(operation)
    assert (operation.state, "other has one of its disks too" in operation.error) == (S.FAILED, True)


def test_one_that_somebody_started_is_no_template(alpha: FakeHost, machine: Domain) -> None:
    operation = alpha.ask("domain.to_template", machine)
    alpha.connection.domains.known[machine.uuid].state = DomainState.RUNNING
    alpha.carry_out(operation)
    assert (operation.state, again(machine).is_template) == (S.FAILED, False)


def test_what_is_no_template_has_nothing_to_go_back_to(alpha: FakeHost, machine: Domain) -> None:
    assert str(why_not(BY_KIND["domain.from_template"], again(machine))) == "it is no template"
    inventory.mark_template(machine, True)
    assert str(why_not(BY_KIND["domain.to_template"], again(machine))) == "it is a template already"


def test_deleted_and_restored_it_is_a_template_still(alpha: FakeHost, template: Domain) -> None:
    assert alpha.do("domain.delete", template).state == S.SUCCEEDED
    assert alpha.do("domain.undelete", again(template)).state == S.SUCCEEDED
    assert again(template).is_template


def test_templates_are_found_by_a_word(alpha: FakeHost, template: Domain) -> None:
    assert list(Domain.objects.matching("state:templates")) == [template]
    assert template not in Domain.objects.matching("-state:templates")


# --- versions


def version_of(alpha: FakeHost, name: str, before: Domain | None) -> Domain:
    """A template made of a fresh machine, the next version of another."""
    done = alpha.do("domain.create", alpha.cast.host, **wish(alpha, name=name, start=False))
    assert done.state == S.SUCCEEDED, done.error
    more = {"succeeds": before.pk} if before else {}
    done = alpha.do("domain.to_template", Domain.objects.get(name=name), **more)
    assert done.state == S.SUCCEEDED, done.error
    return Domain.objects.get(name=name)


def line(*versions: Domain) -> list[tuple[str, int]]:
    return [(one.template_line, one.template_version) for one in map(again, versions)]


def test_a_template_gets_a_next_version(alpha: FakeHost, template: Domain) -> None:
    assert line(template) == [("", 0)]
    assert templates.next_of(template) == ("new-1", 2)
    second = version_of(alpha, "gold-b", template)
    # It does not matter which of them one names.
    third = version_of(alpha, "gold-c", template)
    assert line(template, second, third) == [("new-1", 1), ("new-1", 2), ("new-1", 3)]
    assert list(templates.newest(Domain.objects.filter(is_template=True))) == [third]
    assert templates.older_than(Domain.objects.kept(), [third.pk]) == {third.pk: [second, template]}
    assert list(templates.versions_of(Domain.objects.kept(), again(template))) == [third, second, template]


def test_a_number_is_not_given_again_when_its_version_is_gone(alpha: FakeHost, template: Domain) -> None:
    second = version_of(alpha, "gold-b", template)
    assert alpha.do("domain.purge", again(second)).state == S.SUCCEEDED
    assert list(templates.newest(Domain.objects.kept().filter(is_template=True))) == [again(template)]
    third = version_of(alpha, "gold-c", template)
    assert line(third) == [("new-1", 3)]


def test_clones_are_counted_by_version_and_keep_theirs(alpha: FakeHost, template: Domain) -> None:
    for name in ("shop-1", "shop-2"):
        assert alpha.do(KIND, template, name=name).state == S.SUCCEEDED
    second = version_of(alpha, "gold-b", template)
    third = version_of(alpha, "gold-c", template)
    assert alpha.do(KIND, third, name="shop-3").state == S.SUCCEEDED
    make_volume(alpha.pool, "bare.qcow2", backing_path=f"{FILES}/new-1.qcow2")
    found = [again(one) for one in (template, second, third)]
    # Each of its machines has two disks over it.
    assert templates.clones_of(found) == {template.pk: 3, second.pk: 0, third.pk: 1}
    with pytest.raises(operations.NotNow, match=r"linked clones need it: bare\.qcow2, shop-1, shop-2"):
        alpha.ask("domain.delete", again(template))
    assert alpha.do("domain.purge", again(second)).state == S.SUCCEEDED


def test_counting_clones_takes_as_many_queries_however_many_versions(
    alpha: FakeHost, template: Domain, django_assert_max_num_queries: Any
) -> None:
    versions = [template, *(version_of(alpha, f"gold-{letter}", template) for letter in "bcd")]
    with django_assert_max_num_queries(5):
        templates.clones_of(versions)
    assert templates.clones_of([]) == {}


def test_made_a_machine_again_it_is_no_version_any_more(alpha: FakeHost, template: Domain) -> None:
    second = version_of(alpha, "gold-b", template)
    assert alpha.do("domain.from_template", again(second)).state == S.SUCCEEDED
    assert line(template, second) == [("new-1", 1), ("", 0)]


def test_what_cannot_be_succeeded_is_refused_with_the_field(alpha: FakeHost, machine: Domain) -> None:
    plain, there = make_domain(machine.host, "plain", 71), make_domain(make_host("beta", hostname="b"), "far", 72)
    Domain.objects.filter(pk=there.pk).update(is_template=True)
    for pk, words in ((plain.pk, "This is no template"), (there.pk, "on another host"), (4711, "nothing of this")):
        with pytest.raises(operations.Invalid) as refused:
            alpha.ask("domain.to_template", machine, succeeds=pk)
        assert words in refused.value.fields["succeeds"]
    # Two lines of one name nobody could tell apart.
    gold = make_domain(machine.host, "gold", 73, is_template=True)
    make_domain(machine.host, "gold-old", 74, is_template=True, template_line="gold", template_version=4)
    with pytest.raises(operations.Invalid, match="rename this one first"):
        alpha.ask("domain.to_template", machine, succeeds=gold.pk)


def test_only_who_may_change_a_template_gives_it_a_successor(alpha: FakeHost, machine: Domain) -> None:
    someone = alpha.cast.owner
    gold = make_domain(machine.host, "gold", 73, is_template=True)
    Grant.objects.create(user=someone, role=Role.OWNER, domain=machine)
    Grant.objects.create(user=someone, role=Role.OPERATOR, domain=gold)
    alpha.actor = replace(alpha.actor, user=someone)
    with pytest.raises(operations.Denied):
        alpha.ask("domain.to_template", machine, succeeds=gold.pk)


def test_a_template_that_became_a_machine_while_it_waited_has_no_successor(alpha: FakeHost, machine: Domain) -> None:
    gold = make_domain(machine.host, "gold", 73, is_template=True)
    operation = alpha.ask("domain.to_template", machine, succeeds=gold.pk)
    inventory.mark_template(gold, False)
    alpha.carry_out(operation)
    assert (operation.state, again(machine).is_template) == (S.FAILED, False)
