"""A provider of OpenID Connect of the tests' own, on loopback: real keys, discovery, the code flow with PKCE.

Whoever comes is let in as `who` at once. What it says can be twisted, so that what must not be believed is tried.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT = ("webvirt", "a secret of the client")
WAIT_SECONDS = 30
"""The longest that a question is left without an answer while it hangs."""


class Provider:
    """`who` are the claims of who sits there, `told` replaces claims of the token (None leaves one out)."""

    def __init__(self, home: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.provider = self  # type: ignore[attr-defined]
        self.issuer = f"http://127.0.0.1:{self.server.server_port}/realms/staff"
        self.secret_file = home / "oidc_secret"
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(CLIENT[1])
        self.key = RSAKey.generate_key(2048, {"kid": "one"})
        self.released = threading.Event()
        self.reset()

    def encrypt(self, certificate: Path, key: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.issuer = self.issuer.replace("http://", "https://")

    def reset(self) -> None:
        self.who: dict[str, Any] = {"sub": "0-ada", "preferred_username": "ada", "groups": []}
        self.told: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.info: dict[str, Any] = {}
        """Claims that the user info alone has."""
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[str] = []
        """The paths it was asked for."""
        self.is_broken = self.hangs = False
        self.released.set()

    def settings(self) -> dict[str, str]:
        """What webvirt's settings, or its environment, are to be."""
        return {
            "WEBVIRT_OIDC_ISSUER": self.issuer,
            "WEBVIRT_OIDC_CLIENT_ID": CLIENT[0],
            "WEBVIRT_OIDC_CLIENT_SECRET_FILE": str(self.secret_file),
            "WEBVIRT_OIDC_NAME": "Acme",
        }

    def hang(self) -> None:
        self.released.clear()
        self.hangs = True

    # --- what it answers

    def discovery(self) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "scopes_supported": ["openid", "profile", "groups"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return found | self.metadata

    def code_for(self, query: dict[str, str]) -> str:
        """Where the browser goes back to, with a code."""
        assert query["client_id"] == CLIENT[0]
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = secrets.token_urlsafe(8)
        self.codes[code] = query
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def token_for(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        asked = self.codes.pop(form.get("code", ""), None)
        verifier = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = unpadded(verifier).decode()
        good = given == ":".join(CLIENT) and asked and asked["redirect_uri"] == form.get("redirect_uri")
        if not asked or not good or challenge != asked["code_challenge"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "at", "token_type": "Bearer", "id_token": self.id_token(asked["nonce"])}

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        standard = {"iss": self.issuer, "aud": CLIENT[0], "iat": now, "exp": now + 300, "nonce": nonce}
        claims = {name: value for name, value in (standard | self.who | self.told).items() if value is not None}
        return self.sign(claims)

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.key)

    def keys(self) -> dict[str, Any]:
        return {"keys": [self.key.as_dict(private=False, use="sig")]}


def signed_with(secret: bytes, claims: dict[str, Any]) -> str:
    """A token with a secret (HS256), or with nothing at all."""
    header = {"alg": "HS256" if secret else "none", "kid": "one"}
    parts = b".".join(unpadded(json.dumps(part).encode()) for part in (header, claims))
    signature = hmac.digest(secret, parts, "sha256") if secret else b""
    return b".".join((parts, unpadded(signature))).decode()


def unpadded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


class Handler(BaseHTTPRequestHandler):
    @property
    def provider(self) -> Provider:
        found: Provider = self.server.provider  # type: ignore[attr-defined]
        return found

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        provider = self.provider
        provider.asked.append(address.path)
        if provider.hangs:
            provider.released.wait(WAIT_SECONDS)
        if address.path.endswith("/authorize"):
            self.send_response(302)
            self.send_header("Location", provider.code_for(query))
            self.end_headers()
        elif provider.is_broken:
            self.answer(503, {})
        elif address.path.endswith("/.well-known/openid-configuration"):
            self.answer(200, provider.discovery())
        elif address.path.endswith("/keys"):
            self.answer(200, provider.keys())
        elif self.headers.get("Authorization") == "Bearer at":
            self.answer(200, {"sub": provider.who["sub"]} | provider.info)
        else:
            self.answer(401, {})

    def do_POST(self) -> None:
        self.provider.asked.append(self.path)
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.answer(*self.provider.token_for(form, self.headers.get("Authorization", "")))

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_line: object) -> None:
        """It says nothing."""


@contextmanager
def running_provider(home: Path, certificate: tuple[Path, Path] | None = None) -> Iterator[Provider]:
    """`certificate` and its key, for https."""
    provider = Provider(home)
    if certificate:
        provider.encrypt(*certificate)
    thread = threading.Thread(target=provider.server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        provider.released.set()
        provider.server.shutdown()
        provider.server.server_close()
        thread.join()
