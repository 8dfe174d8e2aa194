"""A small client of the REST API for tests against a running installation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import requests

from tests.until import until

ENDED = ("succeeded", "failed", "cancelled", "denied")


@dataclass(frozen=True)
class Api:
    """Speaks to `url` with a token; every call has a time limit, since hanging is what the tests look for."""

    url: str
    token: str
    seconds: float = 10.0

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}"}
        return requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=self.seconds, **options)

    def get(self, path: str, **params: Any) -> Any:
        answer = self.call("GET", path, params=params)
        assert answer.status_code == 200, f"GET {path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def domain(self, name: str) -> dict[str, Any] | None:
        """The machine of this name as the list tells it, or None."""
        found = [row for row in self.get("/domains", q=name)["items"] if row["name"] == name]
        return found[0] if found else None

    def appears(self, name: str, seconds: float = 20.0) -> dict[str, Any]:
        """Wait for a machine to be in the list."""
        return until(lambda: self.domain(name), seconds, what=f"{name} in the list") or {}

    def status(self, name: str) -> str:
        row = self.domain(name)
        return str(row["status"]) if row else "not in the list"

    def verb(self, name: str, verb: str, **parameters: Any) -> requests.Response:
        row = self.appears(name)
        return self.call("POST", f"/domains/{row['id']}/{verb}", json=parameters)

    def submit(self, name: str, verb: str, **parameters: Any) -> int:
        """Ask for a verb; returns the operation's id."""
        answer = self.verb(name, verb, **parameters)
        assert answer.status_code == 202, f"{verb} {name}: {answer.status_code} {answer.text[:500]}"
        return int(answer.json()["id"])

    def operation(self, pk: int) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/operations/{pk}")
        return found

    def ends(self, pk: int, seconds: float = 60.0) -> dict[str, Any]:
        """Wait for an operation's end."""

        def ended() -> dict[str, Any] | None:
            operation = self.operation(pk)
            return operation if operation["state"] in ENDED else None

        return until(ended, seconds, what=f"operation {pk} at its end") or {}

    def host(self, name: str) -> dict[str, Any]:
        return next(row for row in self.get("/hosts")["items"] if row["name"] == name)
