"""Who you are here, and your tokens."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Schema, Status
from pydantic import Field

from webvirt.api.auth import OWN, Caller, caller_of
from webvirt.api.shapes import LoginSessionOut, Me, NewToken, TokenOut, grant_out, login_session_out, token_out
from webvirt.models import ApiToken, User
from webvirt.services import sessions, tokens
from webvirt.services.operations import Denied, Invalid
from webvirt.services.rights import grants_for

router = Router(tags=["me"])


class TokenSpec(Schema, extra="forbid"):
    """`kinds` are those of the catalogue (`domain.start`) that it may, none to read alone; without them, all that its
    person may. `project` is the id of the one in which alone it may anything."""

    name: str
    days: int = 90
    kinds: list[str] | None = Field(None, max_length=500)
    project: int | None = None


@router.get("", response=Me, summary="You")
def me(request: HttpRequest) -> Me:
    """Who you are, your roles (those of your groups too), and the token you came with, with what it may of that."""
    caller = caller_of(request)
    user = caller.user
    only = caller.limit.project if caller.limit else None
    there = ("", f"project:{only}")
    return Me(
        id=user.pk,
        username=user.get_username(),
        is_service=user.is_service,
        language=user.language,
        theme=user.theme,
        is_administrator=caller.access.is_administrator,
        grants=[grant_out(grant) for grant in grants_for(user) if only is None or grant.scope in there],
        token=token_out(caller.token) if caller.token else None,
    )


@router.get("/tokens", response=list[TokenOut], summary="Your tokens", auth=OWN)
def my_tokens(request: HttpRequest) -> list[TokenOut]:
    """Those that were not revoked. Not with a limited token."""
    return [token_out(token) for token in tokens.tokens_of(caller_of(request).user)]


@router.post("/tokens", response={201: NewToken}, summary="Make a token", auth=OWN)
def make_token(request: HttpRequest, spec: TokenSpec) -> Status[NewToken]:
    """The answer holds the secret, once. Not with a token: a stolen one must not outlive its end."""
    caller = caller_of(request)
    return Status(201, made_by(caller, caller.user, spec))


def made_by(caller: Caller, user: User, spec: TokenSpec) -> NewToken:
    """A token of somebody's with its secret. Raises Denied for who comes with one, and Invalid."""
    if caller.token is not None:
        raise Denied(_("A token cannot make another: sign in on the pages, or use manage.py createtoken."))
    project = None if spec.project is None else caller.access.one("project", spec.project)
    if spec.project is not None and project is None:
        raise Invalid({"project": _("There is nothing of this number.")})
    raw = tokens.create_token(user, spec.name, spec.days, kinds=spec.kinds, project=project)
    made = ApiToken.objects.get(digest=tokens.digest_of(raw))
    return NewToken(token=raw, **token_out(made).model_dump())


@router.delete("/tokens/{int:pk}", response={204: None}, summary="Revoke a token", auth=OWN)
def revoke_token(request: HttpRequest, pk: int) -> Status[None]:
    """It is of no use from now on."""
    if not tokens.revoke(caller_of(request).user, pk):
        raise Http404
    return Status(204, None)


@router.get("/sessions", response=list[LoginSessionOut], summary="Where you are signed in", auth=OWN)
def my_sessions(request: HttpRequest) -> list[LoginSessionOut]:
    """Your browsers' sessions, the one used last first."""
    return [login_session_out(session) for session in sessions.of_person(caller_of(request).user)]


@router.delete("/sessions/{str:handle}", response={204: None}, summary="Sign a session out", auth=OWN)
def end_session(request: HttpRequest, handle: str) -> Status[None]:
    """Its pages and consoles close at once."""
    if not sessions.end_one(caller_of(request).user, handle):
        raise Http404
    return Status(204, None)
