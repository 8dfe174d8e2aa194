#!/usr/bin/env python3
"""Waits until everything is alive, then says where it is: the address, and the first administrator's one-time link."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
import time
from pathlib import Path

PATIENCE_SECONDS = 60.0


def health(host: str, port: int) -> tuple[int, str]:
    """What /healthz says: the status and the text; status 0 while nothing answers."""
    connection = http.client.HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def manage(*arguments: str) -> str:
    """The output of a command of manage.py; its errors go to the log by themselves."""
    done = subprocess.run([sys.executable, "manage.py", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    return done.stdout.strip()


def main() -> None:
    bind, port = os.environ["WEBVIRT_BIND"], int(os.environ["WEBVIRT_PORT"])
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    web = Path(os.environ["WEBVIRT_HOME"]) / "run/web-1.sock"
    deadline = time.monotonic() + PATIENCE_SECONDS
    status, text = 0, "the web process does not listen"
    while status != 200 and time.monotonic() < deadline:
        time.sleep(0.2)
        # Until then nginx would only complain.
        if web.exists():
            status, text = health(host, port)
    if status != 200:
        print(f"Not everything is alive after {PATIENCE_SECONDS:.0f} s: {text}", flush=True)
    url = os.environ.get("WEBVIRT_PUBLIC_URL") or f"http://{bind}:{port}"
    print(f"webvirt is at {url}", flush=True)
    manage("addlocalhost")
    if link := manage("setuplink"):
        print(f"Nobody administers it yet. Name and password are set once, with this link:\n\n    {link}\n", flush=True)
    print("Ctrl-C ends webvirt and leaves the guests running.", flush=True)


if __name__ == "__main__":
    main()
