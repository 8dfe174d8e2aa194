"""A day with storage and networks: made in the browser, filled from it, used, and kept from being lost."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from tests.browser.window import EVENT_MS, Window, assert_not_reloaded, mark, row
from tests.guests import Guest, virsh
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]

PIECE = 8 * 2**20
SIZE = 2 * PIECE + 4321
WORK_MS = 20_000
DISK = "<disk type='file'><driver name='qemu' type='raw'/><source file='{path}'/><target dev='hda' bus='ide'/></disk>"


@dataclass
class Names:
    """What the test makes on the host, and a file on the person's own disk."""

    pool: str
    network: str
    folder: Path
    file: Path


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    mark = uuid4().hex[:4]
    found = Names(
        f"wvb-pool-{mark}", f"wvb-net-{mark}", Path(f"/var/tmp/wvb-pool-{mark}"), tmp_path / "tiny system.img"
    )
    found.file.write_bytes(os.urandom(SIZE))
    yield found
    for words in (
        ("pool-destroy", found.pool),
        ("pool-undefine", found.pool),
        ("net-destroy", found.network),
        ("net-undefine", found.network),
    ):
        virsh(*words, check=False)
    shutil.rmtree(found.folder, ignore_errors=True)


def test_a_day_with_storage(ada: Window, names: Names) -> None:
    ada.go("/hosts/")
    expect(ada.page.locator("#hosts .state.h-up")).to_have_text("up", timeout=WORK_MS)
    makes_a_network(ada.page, ada.url, names)
    makes_a_pool(ada.page, ada.url, names)
    is_interrupted_while_uploading(ada, names)
    goes_on_where_it_was(ada.page, names)
    downloads_it(ada.page, names)
    fetches_it_from_the_web(ada.page, ada.url, names)
    # A form that is refused is an answer of its own.
    ada.forgive("400 (Bad Request)")
    sees_who_uses_it_and_is_refused(ada.page, names)
    ada.go("/")
    # Its page asked once more for the volume that was gone.
    ada.forgive("404 (Not Found)")


def makes_a_network(page: Page, url: str, names: Names) -> None:
    page.goto(f"{url}/networks/")
    page.get_by_role("link", name="Create a network").click()
    page.get_by_label("Name", exact=True).fill(names.network)
    expect(page.locator("[data-plan-virsh]")).to_contain_text(f"net-start {names.network}")
    page.get_by_label("Isolated").check()
    page.get_by_label("IPv4 address of the host on it").fill("192.168.77.1/33")
    page.get_by_role("button", name="Create a network").click()
    # Refused before any host was asked, with everything that was typed.
    expect(page.get_by_label("Name", exact=True)).to_have_value(names.network)
    expect(page.get_by_text("must be between 1 and")).to_be_visible()
    page.get_by_label("IPv4 address of the host on it").fill("192.168.77.1/24")
    page.get_by_label("Gives out by DHCP").first.fill("192.168.77.10 - 192.168.77.20")
    page.get_by_role("button", name="Create a network").click()
    expect(page.get_by_text("asked for")).to_be_visible()
    page.goto(f"{url}/networks/")
    expect(row(page, names.network).locator(".state.s-n-active")).to_have_text("running", timeout=WORK_MS)
    assert names.network in virsh("net-list", "--name")


def makes_a_pool(page: Page, url: str, names: Names) -> None:
    page.goto(f"{url}/pools/")
    mark(page)
    page.get_by_role("link", name="Create a pool").click()
    page.get_by_label("NFS share").check()
    server = page.get_by_role("textbox", name="Server")
    expect(server).to_be_visible()
    page.get_by_role("radio", name="Folder A folder").check()
    expect(server).to_be_hidden()
    page.get_by_label("Name", exact=True).fill(names.pool)
    page.get_by_label("Path on the host").fill(str(names.folder))
    page.get_by_role("button", name="Create a pool").click()
    expect(page.get_by_text("asked for")).to_be_visible()
    page.goto(f"{url}/pools/")
    line = row(page, names.pool)
    expect(line.locator(".state.s-p-running")).to_have_text("running", timeout=WORK_MS)
    line.get_by_role("link", name=names.pool).click()


def is_interrupted_while_uploading(ada: Window, names: Names) -> None:
    """The first piece arrives; then the network is gone, and so is the page."""
    page, sent = ada.page, []

    def lose(route: Route) -> None:
        sent.append(route.request.url)
        route.continue_() if len(sent) == 1 else route.abort()

    page.route("**/api/v1/uploads/*", lose)
    page.get_by_role("link", name="Upload an image").click()
    page.get_by_label("File").set_input_files(names.file)
    page.get_by_role("button", name="Upload an image").click()
    transfer = page.locator(".transfer")
    expect(transfer).to_contain_text("8.0 MiB / 16.0 MiB", timeout=WORK_MS)
    expect(transfer).to_contain_text("Trying again", timeout=WORK_MS)
    page.unroute("**/api/v1/uploads/*")
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("link", name="Back to the pool").click()
    ada.forgive()


def goes_on_where_it_was(page: Page, names: Names) -> None:
    """The last piece arrives damaged, which shows only when all of it has been sent."""
    at = names.file.stat().st_size // PIECE * PIECE
    sent: list[str] = []

    def damage(route: Route) -> None:
        is_last = f"offset={at}&" in route.request.url
        if is_last:
            sent.append(route.request.url)
        route.continue_(post_data=bytes(SIZE - at) if is_last and len(sent) == 1 else None)

    page.route("**/api/v1/uploads/*", damage)
    transfer = page.locator(".transfer")
    expect(transfer).to_contain_text("Interrupted: choose the same file again to go on.")
    expect(row(page, "tiny-system.img")).to_contain_text("being made")
    transfer.locator("input[type=file]").set_input_files(names.file)
    expect(transfer).to_have_count(0, timeout=WORK_MS)
    expect(row(page, "tiny-system.img")).to_contain_text("raw", timeout=WORK_MS)
    expect(row(page, "tiny-system.img")).not_to_contain_text("being made", timeout=WORK_MS)
    assert len(sent) == 2
    assert (names.folder / "tiny-system.img").read_bytes() == names.file.read_bytes()
    page.unroute("**/api/v1/uploads/*")


def downloads_it(page: Page, names: Names) -> None:
    row(page, "tiny-system.img").get_by_role("link", name="tiny-system.img").click()
    page.get_by_role("button", name="More").click()
    with page.expect_download() as download:
        page.locator("#verbs").get_by_role("button", name="Download").click()
    assert download.value.suggested_filename == "tiny-system.img"
    assert Path(download.value.path()).read_bytes() == names.file.read_bytes()
    expect(page.locator(".toast-note").last).to_contain_text("done", timeout=WORK_MS)


def fetches_it_from_the_web(page: Page, url: str, names: Names) -> None:
    """Into the same pool, from a server on this machine; then it is in the library, told from a checksum."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(names.file.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        page.goto(f"{url}/images/")
        page.get_by_role("button", name="Add an image").or_(page.get_by_role("link", name="Add an image")).click()
        if page.locator("#make-menu").count():
            page.locator("#make-menu").get_by_role("link", name=names.pool).click()
        page.get_by_role("link", name="Fetch one from the web instead").click()
        page.get_by_label("Address").fill(f"http://127.0.0.1:{server.server_address[1]}/tiny%20system.img")
        # The file's own name cannot be one in a pool.
        expect(page.locator("[data-plan-virsh]")).to_contain_text("tiny-system.img")
        page.get_by_label("Name in the pool").fill("not a name")
        page.get_by_role("button", name="Fetch an image").click()
        expect(page.get_by_text("is 1 to 120 letters")).to_be_visible()
        page.get_by_label("Name in the pool").fill("fetched.img")
        page.get_by_label("Checksum", exact=True).fill(hashlib.sha256(names.file.read_bytes()).hexdigest())
        expect(page.locator("[data-plan-virsh]")).to_contain_text("vol-upload --sparse")
        page.get_by_role("button", name="Fetch an image").click()
        page.goto(f"{url}/images/?q=fetched")
        mark(page)
        expect(row(page, "fetched.img")).to_contain_text("raw", timeout=WORK_MS)
        expect(row(page, "fetched.img").locator("code")).to_be_visible(timeout=WORK_MS)
        server.shutdown()
    assert_not_reloaded(page)
    assert (names.folder / "fetched.img").read_bytes() == names.file.read_bytes()
    page.goto(f"{url}/pools/")
    row(page, names.pool).get_by_role("link", name=names.pool).click()


def sees_who_uses_it_and_is_refused(page: Page, names: Names) -> None:
    row(page, "tiny-system.img").get_by_role("link", name="tiny-system.img").click()
    users = page.locator("#users")
    expect(users).to_contain_text("Nobody")
    guest = Guest(f"wvb-user-{uuid4().hex[:4]}")
    text = guest.xml().replace("<devices>", "<devices>" + DISK.format(path=names.folder / "tiny-system.img"))
    definition = names.file.with_suffix(".xml")
    definition.write_text(text)
    virsh("define", str(definition))
    try:
        expect(users.get_by_role("link", name=guest.name)).to_be_visible(timeout=EVENT_MS)
        page.get_by_role("button", name="More").click()
        delete = page.locator("#verbs").get_by_role("button", name="Delete")
        expect(delete).to_be_disabled()
        expect(delete).to_contain_text(f"it is a disk of {guest.name}")
    finally:
        guest.remove()
    expect(users).to_contain_text("Nobody", timeout=EVENT_MS)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="More").click()
    page.locator("#verbs").get_by_role("button", name="Delete").click()
    sure = page.get_by_role("dialog")
    expect(sure.get_by_role("button", name="Delete")).to_be_disabled()
    sure.get_by_label("Type its name").fill("tiny-system.img")
    sure.get_by_role("button", name="Delete").click()
    until(lambda: not (names.folder / "tiny-system.img").exists(), 20, what="the volume is gone")
    expect(page).to_have_url(re.compile(r"/pools/\d+/$"))
    expect(page.get_by_role("heading", name=names.pool)).to_be_visible()
