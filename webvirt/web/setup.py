"""The first administrator: a link that `deploy/run` prints lets exactly one person set name and password."""

from __future__ import annotations

from allauth.account.internal.flows.login import perform_login, record_authentication
from allauth.account.models import Login
from django.contrib import messages
from django.core import signing
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from webvirt.services import people
from webvirt.services.grants import administrators_exist
from webvirt.services.operations import Invalid, NotNow

VALID_SECONDS = 7 * 24 * 3600


@require_http_methods(["GET", "POST"])
def setup(request: HttpRequest, token: str) -> HttpResponse:
    try:
        signing.loads(token, salt=people.SETUP_SALT, max_age=VALID_SECONDS)
    except signing.BadSignature:
        raise Http404 from None
    if administrators_exist():
        return spent(request)
    typed = {"name": request.POST.get("name", "admin")}
    if request.method == "GET":
        return render(request, "setup.html", {"typed": typed, "errors": {}})
    try:
        if request.POST.get("password") != request.POST.get("again"):
            raise Invalid({"again": _("The two are not the same.")})
        user = people.create_first_administrator(typed["name"], request.POST.get("password", ""))
    except Invalid as error:
        return render(request, "setup.html", {"typed": typed, "errors": error.fields}, status=400)
    except NotNow:
        return spent(request)
    record_authentication(request, user, "password")
    response: HttpResponse = perform_login(request, Login(user=user))
    return response


def spent(request: HttpRequest) -> HttpResponse:
    messages.error(request, _("This link was used already: there is an administrator. Sign in."))
    return redirect("account_login")
