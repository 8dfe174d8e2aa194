"""Asking for a verb from a page: its form where it takes something, and what becomes of the asking."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils.translation import gettext as _

from webvirt.models import Host, Volume
from webvirt.services import operations
from webvirt.services.access import Access
from webvirt.services.bulk import submit_all
from webvirt.services.catalogue import NoParameters, Verb, verbs_on
from webvirt.services.catalogue.specs import SWITCHES
from webvirt.services.grounds import placed
from webvirt.services.subjects import Subject, address_of, name_of, noun_of
from webvirt.web import answers, quotas
from webvirt.web.actor import actor_of
from webvirt.web.forms import FORMS, NO_FORM, Form
from webvirt.web.forms.form import number, text
from webvirt.web.forms.within import within
from webvirt.web.guards import wants_json
from webvirt.web.words import size


def perform(request: HttpRequest, access: Access, target: Subject, name: str) -> HttpResponse:
    """`GET` shows the form of a verb that has one; `POST` asks for it, or with `plan` for what it would do."""
    verb = next((verb for verb in verbs_on(noun_of(target)) if verb.name == name and not verb.session), None)
    if verb is None:
        raise Http404
    if request.method == "POST":
        return plan(request, access, verb, target) if "plan" in request.POST else ask(request, access, verb, target)
    if verb.kind not in FORMS:
        return HttpResponseNotAllowed(["POST"])
    if not access.may(verb, target):
        return answers.refused(request, operations.Denied(str(verb.label)), home_of(access, target))
    return form_page(request, access, verb, target, FORMS[verb.kind].begun(request.GET, target), {})


def ask(request: HttpRequest, access: Access, verb: Verb, target: Subject) -> HttpResponse:
    home, form = home_of(access, target), form_of(verb)
    if access.may(verb, target) and (page := sure_page(request, verb, [target], home)):
        return page
    try:
        wanted = form.each(parameters_of(verb, request.POST))
        asked = submit_all(actor_of(request), verb, target, wanted)
    except operations.Invalid as error:
        if wants_json(request) or verb.kind not in FORMS:
            return answers.refused(request, error, home)
        typed = form.typed(request.POST, target)
        return form_page(request, access, verb, target, typed, form.wrong(error.fields), status=400)
    except operations.OverQuota as error:
        if wants_json(request) or verb.kind not in FORMS:
            return answers.refused(request, error, home)
        return form_page(request, access, verb, target, form.typed(request.POST, target), {"": str(error)}, status=409)
    except operations.Refused as error:
        return answers.refused(request, error, home)
    return answers.accepted(request, asked[0], home) if len(asked) == 1 else answers.all_accepted(request, asked)


def form_of(verb: Verb) -> Form:
    """How a verb is filled in; of one that takes nothing, nothing."""
    return FORMS.get(verb.kind, NO_FORM)


def sure_page(request: HttpRequest, verb: Verb, targets: list[Subject], back: str) -> HttpResponse | None:
    """The question before something is lost; None where it was answered, or there is none."""
    named = request.POST.get("confirm", "").strip() == word_to_type(targets)
    if named if verb.by_name else not verb.danger or "sure" in request.POST or wants_json(request):
        return None
    if wants_json(request):
        return answers.refused(request, operations.Invalid({"confirm": how_to_mean_it(targets)}), "")
    ours = ("csrfmiddlewaretoken", "sure", "confirm")
    context = {
        "verb": verb,
        "things": [(target.name, more_of(target)) for target in targets],
        "how": how_to_mean_it(targets),
        "back": back,
        "fields": [(key, value) for key, values in request.POST.lists() if key not in ours for value in values],
        "wrong": "confirm" in request.POST,
    }
    return render(request, "sure.html", context)


def word_to_type(targets: list[Subject]) -> str:
    """What says that one means it: the name of one thing, the number of several."""
    return targets[0].name if len(targets) == 1 else str(len(targets))


def how_to_mean_it(targets: list[Subject]) -> str:
    if len(targets) == 1:
        return _("Type its name to say that you mean it.")
    return _("Type %(n)s, how many they are, to say that you mean it.") % {"n": len(targets)}


def more_of(target: Subject) -> str:
    """What a question and a list of results say of it besides its name: how much it is, or where it is."""
    if isinstance(target, Volume):
        return size(target.capacity) if target.read_at else ""
    return "" if isinstance(target, Host) else target.host.name


def plan(request: HttpRequest, access: Access, verb: Verb, target: Subject) -> HttpResponse:
    """What a form would do as it is filled in now: the commands, or what is wrong with which field."""
    if not access.may(verb, target):
        return answers.refused(request, operations.Denied(str(verb.label)), "")
    form = form_of(verb)
    try:
        wanted = form.each(parameters_of(verb, request.POST))
        specs = [placed(access, verb, target, operations.parse_parameters(verb, one)) for one in wanted]
        wrong = operations.misfits(access, verb, target, spec := specs[0])
    except operations.Invalid as error:
        return JsonResponse({"virsh": "", "fields": form.wrong(error.fields)})
    except operations.Denied as error:
        return answers.refused(request, error, "")
    if wrong:
        return JsonResponse({"virsh": "", "fields": form.wrong(wrong)})
    more = form.plan(target, spec) | quotas.foreseen(verb, target, specs)
    return JsonResponse({"virsh": verb.virsh(target, spec), "fields": {}} | more)


def form_page(
    request: HttpRequest,
    access: Access,
    verb: Verb,
    target: Subject | None,
    typed: dict[str, Any],
    errors: dict[str, str],
    status: int = 200,
) -> HttpResponse:
    form = FORMS[verb.kind]
    home = home_of(access, target) if target else "/hosts/"
    context: dict[str, Any] = {"verb": verb, "target": target, "typed": typed, "errors": errors, "home": home}
    if target is not None and verb.inside:
        given = request.POST if request.method == "POST" else request.GET
        place = within(access, verb, target, given.get("project", ""))
        used = quotas.lines_for([place.chosen])[place.chosen.pk] if place.chosen else []
        context |= {"within": place, "quota": used} | (form.offers(place, target, typed) if form.offers else {})
    return render(request, form.template, context | form.more(access, target), status=status)


def target_of(access: Access, noun: str, pk: int, name: str) -> Any:
    """What the verb of this name is asked for on, or Http404: what is made inside a project is made of what its members
    need not know of."""
    verb = next((verb for verb in verbs_on(noun) if verb.name == name and not verb.session), None)
    return get_object_or_404(access.targets(verb) if verb else access.rows(noun), pk=pk)


def home_of(access: Access, target: Subject) -> str:
    """Where to go afterwards, and back: a thing's own page, if one may know of it."""
    if access.knows(target):
        return address_of(name_of(target))
    return "/vms/" if isinstance(target, Host) else "/projects/"


def parameters_of(verb: Verb, given: QueryDict) -> dict[str, Any]:
    """A form's fields as the verb's parameters; fields that the verb does not take never get through."""
    if verb.spec is NoParameters:
        return {}
    if verb.spec in SWITCHES:
        return {"enabled": given.get("enabled") == "on"}
    chosen = text(given, "project") if verb.inside else ""
    return FORMS[verb.kind].parameters(given) | ({"project": number(chosen)} if chosen else {})
