"""Who you are here, and your tokens."""

from __future__ import annotations

from django.http import Http404, HttpRequest
from django.utils.translation import gettext as _
from ninja import Router, Schema, Status

from webvirt.api.auth import caller_of
from webvirt.api.shapes import LoginSessionOut, Me, NewToken, TokenOut, grant_out, login_session_out, token_out
from webvirt.models import ApiToken
from webvirt.services import sessions, tokens
from webvirt.services.operations import Denied
from webvirt.services.rights import grants_for

router = Router(tags=["me"])


class TokenSpec(Schema, extra="forbid"):
    name: str
    days: int = 90


@router.get("", response=Me, summary="You")
def me(request: HttpRequest) -> Me:
    """Who you are, your roles (those of your groups too), and the token you came with."""
    caller = caller_of(request)
    user = caller.user
    return Me(
        id=user.pk,
        username=user.get_username(),
        language=user.language,
        theme=user.theme,
        is_administrator=caller.access.is_administrator,
        grants=[grant_out(grant) for grant in grants_for(user)],
        token=token_out(caller.token) if caller.token else None,
    )


@router.get("/tokens", response=list[TokenOut], summary="Your tokens")
def my_tokens(request: HttpRequest) -> list[TokenOut]:
    return [token_out(token) for token in caller_of(request).user.api_tokens.order_by("pk")]


@router.post("/tokens", response={201: NewToken}, summary="Make a token")
def make_token(request: HttpRequest, spec: TokenSpec) -> Status[NewToken]:
    """The answer holds the secret, once. Not with a token: a stolen one must not outlive its end."""
    caller = caller_of(request)
    if caller.token is not None:
        raise Denied(_("A token cannot make another: sign in on the pages, or use manage.py createtoken."))
    raw = tokens.create_token(caller.user, spec.name, spec.days)
    made = ApiToken.objects.get(digest=tokens.digest_of(raw))
    return Status(201, NewToken(token=raw, **token_out(made).model_dump()))


@router.delete("/tokens/{int:pk}", response={204: None}, summary="Revoke a token")
def revoke_token(request: HttpRequest, pk: int) -> Status[None]:
    """It is of no use from now on."""
    if not tokens.revoke(caller_of(request).user, pk):
        raise Http404
    return Status(204, None)


@router.get("/sessions", response=list[LoginSessionOut], summary="Where you are signed in")
def my_sessions(request: HttpRequest) -> list[LoginSessionOut]:
    """Your browsers' sessions, the one used last first."""
    return [login_session_out(session) for session in sessions.of_person(caller_of(request).user)]


@router.delete("/sessions/{str:handle}", response={204: None}, summary="Sign a session out")
def end_session(request: HttpRequest, handle: str) -> Status[None]:
    """Its pages and consoles close at once."""
    if not sessions.end_one(caller_of(request).user, handle):
        raise Http404
    return Status(204, None)
