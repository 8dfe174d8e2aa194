"""Behind two proxies, TLS ended in the first, another port, a path of its own that the second takes off."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Opener
from tests.browser.seeded import ADD_ADMINISTRATOR, ADMINISTRATOR, run
from tests.browser.window import Window, badge, console, row
from tests.guests import Guest
from tests.stack import PROJECT, Stack, free_port, running_stack, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.stack, pytest.mark.slow]

EXAMPLE = (PROJECT / "deploy" / "proxy.conf.example").read_text()
CONF = """
daemon off; pid {folder}/pid; error_log stderr warn; worker_processes 1;
events {{ worker_connections 500; }}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
    uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
    server {{
        listen 127.0.0.1:{public} ssl; listen 127.0.0.1:{other} ssl;
        ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem;
        {outer}
    }}
    server {{ listen 127.0.0.1:{inner}; {stripping} }}
}}
"""


@dataclass
class Proxies:
    """nginx, twice in a row, as deploy/proxy.conf.example has it. `other` is a port that no setting names."""

    folder: Path
    public: int
    other: int
    inner: int
    stack_port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.public}/webvirt"

    def write(self, example: str = EXAMPLE) -> None:
        here = "proxy_pass http://127.0.0.1:8000;"
        assert here in example
        parts = {
            "outer": example.replace(here, f"proxy_pass http://127.0.0.1:{self.inner};"),
            "stripping": example.replace(here, f"proxy_pass http://127.0.0.1:{self.stack_port}/;"),
        }
        ports = {"public": self.public, "other": self.other, "inner": self.inner}
        (self.folder / "conf").write_text(CONF.format(folder=self.folder, **ports, **parts))

    def start(self) -> None:
        files = ["-keyout", str(self.folder / "key.pem"), "-out", str(self.folder / "cert.pem")]
        words = ["openssl", "req", "-x509", "-subj", "/CN=127.0.0.1", "-newkey", "rsa:2048", "-nodes", *files]
        subprocess.run(words, check=True, capture_output=True)
        self.write()
        command = ["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(self.folder / "conf")]
        self.process = subprocess.Popen(command)
        wait_for((self.folder / "pid").exists, "the proxies run")

    def without_upgrade(self) -> None:
        """As a proxy that was set up for pages alone."""
        lines = EXAMPLE.splitlines(keepends=True)
        self.write("".join(line for line in lines if "Upgrade" not in line and "Connection" not in line))
        assert self.process
        os.kill(self.process.pid, signal.SIGHUP)
        # With its headers it is a socket without an origin, which is refused; without, a page that is not there.
        wait_for(lambda: self.status_of_socket() == HTTPStatus.NOT_FOUND, "the proxies have the new configuration")

    def status_of_socket(self) -> int:
        unverified = ssl.create_default_context()
        unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", self.public, timeout=10, context=unverified)
        connection.request("GET", "/webvirt/ws/events/", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        status = connection.getresponse().status
        connection.close()
        return status

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait(20)


@pytest.fixture
def proxies(tmp_path: Path) -> Iterator[Proxies]:
    tmp_path.chmod(0o755)
    found = Proxies(tmp_path, free_port(), free_port(), free_port(), free_port())
    found.start()
    yield found
    found.stop()


@pytest.fixture
def hidden_stack(proxies: Proxies) -> Iterator[Stack]:
    settings = {
        "WEBVIRT_PUBLIC_URL": proxies.url,
        "WEBVIRT_TRUSTED_PROXIES": "127.0.0.1",
    }
    with running_stack(settings, port=proxies.stack_port) as stack:
        run(stack, ADD_ADMINISTRATOR)
        stack.manage("addlocalhost")
        yield stack


def asked_outside(window: Window) -> list[str]:
    """Requests, from now on, for anything that is not under the path."""
    found: list[str] = []

    def look(address: str) -> None:
        if not urlsplit(address).path.startswith("/webvirt/") and not address.startswith(("data:", "blob:")):
            found.append(address)

    window.context.on("request", lambda request: look(request.url))
    window.page.on("websocket", lambda socket: look(socket.url))
    return found


def test_all_of_it_works_and_what_does_not_is_explained(
    proxies: Proxies, hidden_stack: Stack, blank: Guest, open_window: Opener
) -> None:
    window = open_window(hidden_stack, ignore_https_errors=True)
    window.url = f"https://127.0.0.1:{proxies.public}"
    page = window.page
    outside = asked_outside(window)

    signs_in(window, f"{proxies.url}/vms/")
    expect(page).to_have_url(f"{proxies.url}/vms/")
    cookies = {str(cookie["name"]): cookie for cookie in window.context.cookies()}
    session = cookies[f"__Secure-webvirt-{proxies.public}-session"]
    assert (session["path"], session["secure"], session["httpOnly"]) == ("/webvirt/", True, True)

    # Live: a machine comes by itself, and starts.
    row(page, blank.name).get_by_role("link", name=blank.name).click(timeout=20_000)
    page.get_by_role("button", name="Start", exact=True).click()
    expect(badge(page, "s-running")).to_be_visible(timeout=20_000)
    page.get_by_role("link", name="Console").first.click()
    expect(console(page, "connected")).to_be_visible(timeout=20_000)

    window.go("/webvirt/api/v1/docs")
    expect(page.locator(".servers option")).to_have_text("/webvirt", timeout=30_000)
    page.keyboard.press("Control+k")
    page.keyboard.type("Overview")
    expect(page.locator("#palette-list [role=option]").first).to_contain_text("Overview")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{proxies.url}/")
    machine = page.evaluate("fetch('/webvirt/api/v1/domains').then((answer) => answer.json())")
    assert outside == []

    explains_another_address(window, proxies, machine["items"][0]["id"])
    explains_missing_sockets(window, proxies)
    keeps_a_one_time_link_out_of_the_log(hidden_stack)


def signs_in(window: Window, address: str) -> None:
    page = window.page
    page.goto(address)
    page.get_by_label("Name").fill(ADMINISTRATOR[0])
    page.get_by_label("Password").fill(ADMINISTRATOR[1])
    page.get_by_role("button", name="Sign in").click()


def explains_another_address(window: Window, proxies: Proxies, machine: int) -> None:
    """Browsers send cookies to all ports of a host, so who is signed in is so there too; but nothing live goes."""
    page, window.url = window.page, f"https://127.0.0.1:{proxies.other}"
    there = f"{window.url}/webvirt"
    page.goto(f"{there}/vms/")
    expect(page.locator("#elsewhere")).to_contain_text(f"WEBVIRT_PUBLIC_URL={there}")
    expect(page.locator("#elsewhere")).to_contain_text(proxies.url)
    page.goto(f"{there}/vms/{machine}/console/")
    expect(console(page, "ended")).to_contain_text(f"set WEBVIRT_PUBLIC_URL to {there}/")
    window.forgive()


def keeps_a_one_time_link_out_of_the_log(stack: Stack) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=10)
    connection.request("GET", "/webvirt/setup/a-secret-of-one-use/", headers={"Host": "localhost"})
    assert connection.getresponse().status == HTTPStatus.NOT_FOUND
    connection.close()
    wait_for(lambda: "/setup/..." in stack.log.read_text(), "the request is in the log")
    assert "a-secret-of-one-use" not in stack.log.read_text()


def explains_missing_sockets(window: Window, proxies: Proxies) -> None:
    proxies.without_upgrade()
    window.url = f"https://127.0.0.1:{proxies.public}"
    window.go("/webvirt/vms/")
    expect(window.page.locator("#no-sockets")).to_be_visible(timeout=60_000)
    expect(window.page.locator("#elsewhere")).to_be_hidden()
    window.forgive()
