"""The provider of OpenID Connect, by Authlib, which makes and checks state, nonce, PKCE and the token's claims.

Loaded when somebody signs in that way, and not before (`web.directories` says how).
"""

from __future__ import annotations

import logging
import os
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from authlib.common.errors import AuthlibBaseError
from authlib.integrations.base_client.errors import MismatchingStateError
from authlib.integrations.django_client import DjangoIntegration, OAuth
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from joserfc.errors import JoseError
from requests import RequestException

from webvirt.models import Source
from webvirt.services.directories import Found, StayOut

NAME = "oidc"
SECONDS = (3, 5)
"""The longest to wait for a connection, and for each answer."""
KEPT_SECONDS = 3600
"""So long the provider is taken to be as it said."""
LEEWAY_SECONDS = 60
SCOPES = ("openid", "profile", "email")
ALGORITHMS = frozenset(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"))
"""Signatures with a key that the provider alone has: never none, and never one that is made with what we know too."""
LONGEST = 255
"""Characters of `iss` and `sub`, as OpenID Connect bounds the latter."""
BROKEN = (AuthlibBaseError, JoseError, RequestException, KeyError, TypeError, ValueError, RuntimeError)
"""What comes of a provider that says what none should."""

log = logging.getLogger(__name__)


# --- the two steps


def address(request: HttpRequest, back: str) -> str:
    """Where the browser has to go to sign in; it comes back to `back`. Raises StayOut."""
    try:
        app = client()
        answer: HttpResponse = app.authorize_redirect(request, back, scope=scopes(app.server_metadata))
    except (*BROKEN, OSError) as error:
        raise out_of_reach(error) from None
    return answer.headers["Location"]


def person(request: HttpRequest) -> Found:
    """Who came back from the provider. Raises StayOut."""
    if request.GET.get("error"):
        raise refused_there(request)
    try:
        claims = claims_of(request)
        return found_in(claims)
    except MismatchingStateError:
        sentence = _("This sign-in was too old, or was begun in another browser. Try again.")
        raise StayOut(sentence) from None
    except (RequestException, OSError) as error:
        raise out_of_reach(error) from None
    except BROKEN as error:
        log.warning("OpenID Connect: %s: %s: %s", settings.WEBVIRT_OIDC_ISSUER, type(error).__name__, error)
        sentence = _(
            "What %(name)s says of you does not hold, so you cannot sign in. Try again, or ask an administrator."
        )
        reason = f"what the provider says does not hold: {type(error).__name__}"
        raise StayOut(sentence % {"name": settings.WEBVIRT_OIDC_NAME}, reason) from None


def refused_there(request: HttpRequest) -> StayOut:
    """They came back with an error, in the provider's words or somebody else's: these are for the log alone."""
    kept, state = DjangoIntegration(NAME), request.GET.get("state", "")
    known = kept.get_state_data(request.session, state)
    kept.clear_state_data(request.session, state)
    error = request.GET["error"]
    log.warning("OpenID Connect: came back with the error %r", error[:LONGEST])
    name = {"name": settings.WEBVIRT_OIDC_NAME}
    if error == "access_denied":
        sentence = _("You did not sign in: it was refused or cancelled at %(name)s.") % name
    else:
        sentence = _("%(name)s does not let you sign in. Ask an administrator, who finds why in the log.") % name
    # Anybody can lead a browser here with an error: only what was begun here is worth a line.
    return StayOut(sentence, "refused at the provider" if known else "")


def out_of_reach(error: Exception) -> StayOut:
    log.warning("OpenID Connect: %s: %s: %s", settings.WEBVIRT_OIDC_ISSUER, type(error).__name__, error)
    sentence = _("%(name)s cannot be asked at the moment. Accounts that are kept here work all the same.")
    return StayOut(sentence % {"name": settings.WEBVIRT_OIDC_NAME}, "the provider cannot be asked")


# --- the provider


def client() -> Any:
    """What Authlib knows of the provider. Raises what a provider that is none makes it raise."""
    secret = Path(settings.WEBVIRT_OIDC_CLIENT_SECRET_FILE).read_text().strip()
    hour = int(time.time() // KEPT_SECONDS)
    return client_made(settings.WEBVIRT_OIDC_ISSUER, settings.WEBVIRT_OIDC_CLIENT_ID, secret, hour)


@lru_cache(maxsize=1)
def client_made(issuer: str, client_id: str, secret: str, _hour: int) -> Any:
    options: dict[str, Any] = {"code_challenge_method": "S256", "default_timeout": SECONDS}
    if os.path.exists(settings.SYSTEM_AUTHORITIES):
        options["verify"] = settings.SYSTEM_AUTHORITIES
    app = OAuth().register(
        NAME,
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs=options,
    )
    metadata = app.load_server_metadata()
    if metadata["issuer"] != issuer:
        raise ValueError(f"it calls itself {metadata['issuer']!r}: is WEBVIRT_OIDC_ISSUER right?")
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in ALGORITHMS]
    return app


def scopes(metadata: Any) -> str:
    """Some providers tell of groups only who asks for the scope of that name, others know none."""
    offered = metadata.get("scopes_supported") or []
    claim = settings.WEBVIRT_OIDC_GROUPS_CLAIM
    return " ".join((*SCOPES, claim) if claim in offered else SCOPES)


# --- who it is


def claims_of(request: HttpRequest) -> dict[str, Any]:
    """What the provider says of who came back, checked; with their groups, from wherever it tells them."""
    app = client()
    wanted = {
        "iss": {"essential": True, "value": settings.WEBVIRT_OIDC_ISSUER},
        "aud": {"essential": True, "value": settings.WEBVIRT_OIDC_CLIENT_ID},
    }
    token = app.authorize_access_token(request, claims_options=wanted, leeway=LEEWAY_SECONDS)
    claims = dict(token["userinfo"])
    claim = settings.WEBVIRT_OIDC_GROUPS_CLAIM
    if claim in (claims.get("_claim_names") or {}):
        raise ValueError("it says that there are more groups than it says: have it tell those alone that matter here")
    if claim not in claims and app.server_metadata.get("userinfo_endpoint"):
        more = app.userinfo(token=token)
        if more.get("sub") != claims["sub"]:
            raise ValueError("the claims and the user info are of two people")
        claims = dict(more) | claims
    return claims


def found_in(claims: dict[str, Any]) -> Found:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST or len(settings.WEBVIRT_OIDC_ISSUER) > LONGEST:
        raise ValueError("sub is no subject")
    listed = claims.get(settings.WEBVIRT_OIDC_GROUPS_CLAIM) or []
    groups = [listed] if isinstance(listed, str) else listed
    if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
        raise ValueError("the claim of groups is no list of names")
    name = next((claims[each] for each in ("preferred_username", "email") if claims.get(each)), subject)
    return Found(Source.OIDC, subject, str(name), frozenset(groups), issuer=settings.WEBVIRT_OIDC_ISSUER)
