"""The same verb on many at once: the ticks of a list with their bar, the question, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST
from markupsafe import Markup

from webvirt.services.access import NOTHING, Access, Held, union
from webvirt.services.bulk import MOST, Outcome, submit_to_each
from webvirt.services.catalogue import BY_KIND, VERBS_FOR_MANY
from webvirt.services.consoles import most_side_by_side
from webvirt.services.subjects import NOUNS, Subject, address_of, name_of
from webvirt.web import answers
from webvirt.web.actor import actor_of
from webvirt.web.guards import signed_in, wants_json
from webvirt.web.pieces import piece
from webvirt.web.verbs import more_of, sure_page

LISTS = {"domain": _("Virtual machines"), "pool": _("Storage"), "volume": _("Storage"), "network": _("Networks")}
"""What the list is called that one comes from."""


@lru_cache(maxsize=128)
def bulkbar(language: str, noun: str, held: Held) -> Markup:
    """The bar of verbs for ticked rows; empty for who may use none of them."""
    verbs = [verb for verb in VERBS_FOR_MANY[noun].values() if held.allows(verb)]
    consoles = most_side_by_side() if may_watch_some(noun, held) else 0
    return piece("bulkbar.html", {"verbs": verbs, "consoles": consoles}) if verbs or consoles else Markup()


def may_watch_some(noun: str, held: Held) -> bool:
    """Whether the consoles of several can be opened side by side."""
    return noun == "domain" and held.allows(BY_KIND["domain.view"])


@lru_cache(maxsize=128)
def may_some(noun: str, held: Held | None) -> bool:
    """Whether what somebody holds on a row allows anything that is done to many, so that it can be ticked."""
    if held is None:
        return False
    return may_watch_some(noun, held) or any(held.allows(verb) for verb in VERBS_FOR_MANY[noun].values())


def ticking(noun: str, rows: Iterable[tuple[int, Held | None]]) -> dict[str, Any]:
    """What a list needs for its ticks, from what this person holds on each of its rows by id: those that have one."""
    allowed = {pk: held for pk, held in rows if may_some(noun, held)}
    together = union({id(held): held for held in allowed.values()}.values()) or NOTHING
    return {"ticks": set(allowed), "bulkbar": bulkbar(get_language() or "en", noun, together)}


@require_POST
@signed_in
def bulk(request: HttpRequest, access: Access, noun: str) -> HttpResponse:
    verb = VERBS_FOR_MANY[noun].get(request.POST.get("verb", ""))
    if verb is None:
        raise Http404
    wanted = chosen_ids(request.POST.getlist("ids"))
    found: dict[int, Subject] = access.rows(noun).in_bulk(wanted)
    chosen = {pk: found[pk] for pk in wanted if pk in found}
    back = answers.way_back(request, f"/{NOUNS[noun].path}/" if noun != "volume" else "/pools/")
    if chosen and (page := sure_page(request, verb, list(chosen.values()), back)):
        return page
    outcomes = submit_to_each(actor_of(request), access, verb, list(chosen))
    results = [result_of(access, outcome, chosen[outcome.id]) for outcome in outcomes]
    if wants_json(request):
        return JsonResponse({"label": str(verb.label), "results": results}, status=202)
    return render(request, "bulk.html", {"verb": verb, "results": results, "back": back, "list": LISTS[noun]})


def chosen_ids(given: list[str]) -> list[int]:
    """The ids of what was ticked."""
    return [int(pk) for pk in given[:MOST] if pk.isdecimal() and len(pk) < 18]


def result_of(access: Access, outcome: Outcome, target: Subject) -> dict[str, Any]:
    """What became of one of them."""
    line: dict[str, Any] = {"name": target.name, "more": more_of(target), "url": address_of(name_of(target))}
    line |= {"ok": outcome.operation is not None, "refused": ""}
    if outcome.operation:
        return line | answers.operation_json(access, outcome.operation)
    return line | {"refused": str(outcome.refused or "")}
