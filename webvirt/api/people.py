"""People and service accounts over REST, as administrators manage them. Nobody is deleted: they are deactivated."""

from __future__ import annotations

from datetime import datetime

from django.conf import settings
from django.http import Http404, HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from ninja import Query, Router, Schema, Status

from webvirt.api.auth import ADMINISTRATORS, caller_of
from webvirt.api.lists import Page, one, ordered, page_of
from webvirt.api.me import TokenSpec, made_by
from webvirt.api.shapes import Failure, LoginSessionOut, NewToken, TokenOut, login_session_out, token_out
from webvirt.models import PasswordLink, User
from webvirt.services import factors, links, people, sessions, tokens
from webvirt.services.access import access_of
from webvirt.services.operations import Denied, NotNow

REFUSED = {(401, 403, 404, 409, 422): Failure}

router = Router(tags=["people"], auth=ADMINISTRATORS)


class PersonSpec(Schema, extra="forbid"):
    """Without a password they choose it themselves, by a link (`POST /people/{id}/link`)."""

    name: str
    password: str | None = None


class ServiceSpec(Schema, extra="forbid"):
    name: str


class PersonChange(Schema, extra="forbid"):
    """`is_active`: whether they are let in; who is not is signed out at once."""

    is_active: bool


class PersonOut(Schema):
    id: int
    username: str
    is_service: bool
    """Whether it is a program's account, which has tokens and never signs in."""
    is_active: bool
    last_login: datetime | None
    source: str
    """`oidc` or `ldap`; `local` for an account that is kept here."""


class People(Schema):
    total: int
    items: list[PersonOut]


class LinkOut(Schema):
    """A link with which somebody chooses a password, once; shown in this answer and never again."""

    address: str
    expires_at: datetime


def person_out(user: User) -> PersonOut:
    same = ("is_service", "is_active", "last_login")
    source = user.identity.source if hasattr(user, "identity") else "local"
    return PersonOut(
        id=user.pk, username=user.get_username(), source=source, **{name: getattr(user, name) for name in same}
    )


def person(pk: int) -> User:
    return one(User.objects.select_related("identity"), pk)


@router.get("", response={200: People} | REFUSED, summary="List people")
def list_people(
    request: HttpRequest, page: Query[Page], q: str = "", sort: str = "name", service: bool | None = None
) -> People:
    """With `service`, service accounts alone or people alone. Administrators only."""
    found = User.objects.select_related("identity").filter(username__icontains=q)
    if service is not None:
        found = found.filter(is_service=service)
    total, rows = page_of(ordered(found, sort, {"name": "username", "login": "last_login"}), page)
    return People(total=total, items=[person_out(user) for user in rows])


@router.post("", response={201: PersonOut} | REFUSED, summary="Add a person")
def add_person(request: HttpRequest, spec: PersonSpec) -> Status[PersonOut]:
    """They may do nothing before they are given a role (`POST /grants`). Administrators only."""
    return Status(201, person_out(people.create(spec.name, spec.password)))


@router.post("/services", response={201: PersonOut} | REFUSED, summary="Add a service account")
def add_service(request: HttpRequest, spec: ServiceSpec) -> Status[PersonOut]:
    """An account for a program: it holds roles as people do, has tokens, and never signs in. Administrators only."""
    return Status(201, person_out(people.create_service(spec.name)))


@router.get("/{int:pk}", response={200: PersonOut} | REFUSED, summary="One person")
def one_person(request: HttpRequest, pk: int) -> PersonOut:
    """Administrators only."""
    return person_out(person(pk))


@router.patch("/{int:pk}", response={200: PersonOut} | REFUSED, summary="Activate or deactivate a person")
def change_person(request: HttpRequest, pk: int, change: PersonChange) -> PersonOut:
    """The last administrator stays active (409). Administrators only."""
    people.set_active(person(pk), change.is_active)
    return person_out(person(pk))


# --- how they sign in


@router.post("/{int:pk}/link", response={201: LinkOut} | REFUSED, summary="Make a link to choose a password")
def make_link(request: HttpRequest, pk: int) -> Status[LinkOut]:
    """An invitation (seven days), or a reset of a password (one day); the one before is good no more.

    Not for an administrator with a token: a stolen one must not become a sign-in. Administrators only.
    """
    user = person(pk)
    if caller_of(request).token is not None and access_of(user).is_administrator:
        raise Denied(_("A token cannot make a link for an administrator: make it on the pages."))
    address = settings.WEBVIRT_PUBLIC_URL + reverse("password_link", args=[links.make(user)])
    return Status(201, LinkOut(address=address, expires_at=PasswordLink.objects.get(user=user).expires_at))


@router.delete("/{int:pk}/link", response={204: None} | REFUSED, summary="Withdraw a link")
def withdraw_link(request: HttpRequest, pk: int) -> Status[None]:
    """It is of no use from now on, if there is one. Administrators only."""
    links.withdraw(person(pk))
    return Status(204, None)


@router.delete("/{int:pk}/factors", response={204: None} | REFUSED, summary="Forget second factors")
def forget_factors(request: HttpRequest, pk: int) -> Status[None]:
    """The person lost them: the password is enough until they add others. They are signed out. Administrators only."""
    factors.forget(person(pk))
    return Status(204, None)


@router.get(
    "/{int:pk}/sessions", response={200: list[LoginSessionOut]} | REFUSED, summary="Where somebody is signed in"
)
def list_sessions(request: HttpRequest, pk: int) -> list[LoginSessionOut]:
    """Their browsers' sessions, the one used last first. Administrators only."""
    return [login_session_out(session) for session in sessions.of_person(person(pk))]


@router.delete("/{int:pk}/sessions", response={204: None} | REFUSED, summary="Sign somebody out everywhere")
def end_sessions(request: HttpRequest, pk: int) -> Status[None]:
    """All of their sessions' pages and consoles close at once. Administrators only."""
    sessions.end_all(person(pk))
    return Status(204, None)


@router.delete("/{int:pk}/sessions/{str:handle}", response={204: None} | REFUSED, summary="Sign one session out")
def end_session(request: HttpRequest, pk: int, handle: str) -> Status[None]:
    """Its pages and consoles close at once. Administrators only."""
    if not sessions.end_one(person(pk), handle):
        raise Http404
    return Status(204, None)


# --- tokens


@router.get("/{int:pk}/tokens", response={200: list[TokenOut]} | REFUSED, summary="Tokens of an account")
def list_tokens(request: HttpRequest, pk: int) -> list[TokenOut]:
    """Those that were not revoked. Administrators only."""
    return [token_out(token) for token in tokens.tokens_of(person(pk))]


@router.post("/{int:pk}/tokens", response={201: NewToken} | REFUSED, summary="Make a token of a service account")
def add_token(request: HttpRequest, pk: int, spec: TokenSpec) -> Status[NewToken]:
    """The answer holds the secret, once. People make their own. Not with a token. Administrators only."""
    user = person(pk)
    if not user.is_service:
        raise NotNow(_("People make their tokens themselves."))
    return Status(201, made_by(caller_of(request), user, spec))


@router.delete(
    "/{int:pk}/tokens/{int:token_pk}", response={204: None} | REFUSED, summary="Revoke a token of an account"
)
def revoke_token(request: HttpRequest, pk: int, token_pk: int) -> Status[None]:
    """It is of no use from now on. Administrators only."""
    if not tokens.revoke(person(pk), token_pk):
        raise Http404
    return Status(204, None)
