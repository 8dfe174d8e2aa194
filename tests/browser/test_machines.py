"""The life of machines on real QEMU: made on one page, looked at, deleted, restored and purged."""

from __future__ import annotations

import hashlib
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from uuid import uuid4

import pytest
from playwright.sync_api import Page, expect

from tests.appliances import manifest_of, small_envelope, tar_of
from tests.bootable import CODE, LIT, bootable_disc
from tests.browser.window import EVENT_MS, Window, badge, console, lit_pixels, mark, number_in, row
from tests.guests import virsh
from tests.until import until
from webvirt.services import vmdk

pytestmark = [pytest.mark.browser, pytest.mark.stack]

WORK_MS = 30_000
TEN = 10


@dataclass
class Place:
    """A pool with a disc that boots and an image, and the beginning of the names of what is made from them."""

    pool: str
    folder: Path

    @property
    def name(self) -> str:
        return self.pool.replace("pool", "vm")


@pytest.fixture
def place() -> Iterator[Place]:
    pool = f"wvb-pool-{uuid4().hex[:4]}"
    found = Place(pool, Path(f"/var/tmp/{pool}"))
    found.folder.mkdir()
    (found.folder / "boots.iso").write_bytes(bootable_disc())
    virsh("pool-define-as", pool, "dir", "--target", str(found.folder))
    virsh("pool-start", pool)
    virsh("vol-create-as", pool, "base.qcow2", "64M", "--format", "qcow2")
    yield found
    for name in virsh("list", "--all", "--name").split():
        if name.startswith(found.name):
            virsh("destroy", name, check=False)
            virsh("undefine", name, check=False)
    virsh("pool-destroy", pool, check=False)
    virsh("pool-undefine", pool, check=False)
    shutil.rmtree(found.folder)


def begins(page: Page, url: str, place: Place, what: str, image: str) -> None:
    """The form of a new machine, filled in so far that it begins with an image of the pool."""
    # Another pool may have an image of this name, or have had it a moment ago.
    option = page.locator(f"#f-{what} option", has_text=place.pool).filter(has_text=image)

    def is_offered() -> bool:
        page.goto(f"{url}/hosts/1/create-domain/")
        return option.count() > 0

    until(is_offered, 30, every=0.5, what=f"{image} of {place.pool} is offered")
    page.locator(f"[name=begins][value={what.removeprefix('volume_')}]").check()
    page.locator(f"#f-{what}").select_option(value=option.get_attribute("value") or "")
    page.get_by_label("Processors").fill("1")
    page.locator("[name=memory]").fill("64")
    page.locator("[name=memory_unit]").select_option("MiB")
    pool = page.locator("[name=disk_pool]").first.locator("option", has_text=place.pool)
    page.locator("[name=disk_pool]").first.select_option(value=pool.get_attribute("value") or "")
    page.locator("[name=disk_size]").first.fill("0.1")
    page.locator("[name=card]").first.select_option("")


def make(page: Page, button: str) -> None:
    page.locator(".card-footer").get_by_role("button", name=button).click()
    expect(page).to_have_url(re.compile(r"/vms/$|/operations/$"))


def test_a_machine_from_a_disc_and_back(ada: Window, place: Place) -> None:
    begins(ada.page, ada.url, place, "volume_disc", "boots.iso")
    sees_what_will_be_made(ada.page, place)
    make(ada.page, "Create a machine")
    uuid = sees_it_start_from_the_disc(ada.page, place)
    deletes_it(ada.page, ada.url, place)
    restores_it(ada.page, ada.url, place, uuid)
    purges_it(ada.page, ada.url, place)
    # Its own page was asked for once more when it was gone.
    ada.forgive("404 (Not Found)")


def sees_what_will_be_made(page: Page, place: Place) -> None:
    """A name that is taken up to the last letter, then what is made, the commands and the definition."""
    page.get_by_label("Name", exact=True).fill(place.name)
    expect(page.locator("[data-plan-virsh]")).to_contain_text(f"define {place.name}.xml")
    expect(page.locator("[data-plan-steps]")).to_contain_text(f"{place.pool}/{place.name}.qcow2")
    page.get_by_text("Its definition").click()
    expect(page.locator("[data-plan-xml]")).to_contain_text(f"<name>{place.name}</name>")
    page.get_by_label("Start it with the host").check()


def sees_it_start_from_the_disc(page: Page, place: Place) -> str:
    line = row(page, place.name)
    expect(line.locator(".state.s-running")).to_be_visible(timeout=WORK_MS)
    line.get_by_role("link", name=place.name).click()
    page.locator("#header").get_by_role("link", name="Console").click()
    expect(console(page, "connected")).to_be_visible(timeout=WORK_MS)
    until(lambda: lit_pixels(page) > LIT, 20, what="the disc's own picture on the screen")
    uuid = virsh("domuuid", place.name).strip()
    assert virsh("dominfo", place.name).count("enable") == 1
    return uuid


def deletes_it(page: Page, url: str, place: Place) -> None:
    number = number_in(page.url)
    virsh("destroy", place.name)
    page.goto(f"{url}/vms/{number}/")
    expect(badge(page, "s-shutoff")).to_be_visible(timeout=EVENT_MS)
    page.goto(f"{url}/vms/{number}/delete/")
    own = row(page, f"{place.name}.qcow2").get_by_role("checkbox")
    expect(own).to_be_checked()
    # The library's disc is not the machine's to delete.
    expect(row(page, "boots.iso")).to_be_visible()
    expect(row(page, "boots.iso").get_by_role("checkbox")).to_have_count(0)
    page.get_by_role("button", name="Delete").click()
    page.goto(f"{url}/vms/bin/")
    expect(row(page, place.name)).to_be_visible(timeout=WORK_MS)
    assert place.name not in virsh("list", "--all", "--name").split()
    page.goto(f"{url}/vms/")
    expect(row(page, place.name)).to_have_count(0)


def restores_it(page: Page, url: str, place: Place, uuid: str) -> None:
    page.goto(f"{url}/vms/bin/")
    mark(page)
    row(page, place.name).get_by_role("button", name="Restore from the bin").click()
    expect(row(page, place.name)).to_have_count(0, timeout=WORK_MS)
    page.goto(f"{url}/vms/")
    line = row(page, place.name)
    expect(line.locator(".state.s-shutoff")).to_be_visible(timeout=WORK_MS)
    line.get_by_role("button", name="Start").click()
    expect(line.locator(".state.s-running")).to_be_visible(timeout=WORK_MS)
    assert virsh("domuuid", place.name).strip() == uuid
    assert virsh("dominfo", place.name).count("enable") == 1


def purges_it(page: Page, url: str, place: Place) -> None:
    virsh("destroy", place.name)
    line = row(page, place.name)
    expect(line.locator(".state.s-shutoff")).to_be_visible(timeout=EVENT_MS)
    line.get_by_role("link", name=place.name).click()
    page.goto(f"{url}/vms/{number_in(page.url)}/purge/")
    page.get_by_placeholder(place.name).fill(place.name)
    page.get_by_role("button", name="Delete for good").click()
    until(lambda: place.name not in virsh("list", "--all", "--name").split(), 30, what="it is gone")
    until(lambda: not (place.folder / f"{place.name}.qcow2").exists(), 30, what="its disk is gone")
    assert (place.folder / "boots.iso").exists()


def test_ten_at_once_over_one_image(ada: Window, place: Place) -> None:
    page = ada.page
    begins(page, ada.url, place, "volume_image", "base.qcow2")
    page.get_by_label("A layer over it").check()
    page.get_by_label("Name", exact=True).fill(f"{place.name}-{{01..{TEN}}}")
    make(page, f"Create {TEN} machines")
    page.goto(f"{ada.url}/vms/?q={place.name}")
    expect(page.locator("#machines .state.s-running")).to_have_count(TEN, timeout=2 * WORK_MS)
    layers = sorted(path.name for path in place.folder.glob(f"{place.name}-*.qcow2"))
    assert layers == [f"{place.name}-{number:02d}.qcow2" for number in range(1, TEN + 1)]
    told = virsh("vol-dumpxml", "--pool", place.pool, layers[-1])
    assert f"<path>{place.folder}/base.qcow2</path>" in told
    # What others are based on is refused by name.
    page.goto(f"{ada.url}/images/?q=base")
    row(page, "base.qcow2").get_by_role("link", name="base.qcow2").click()
    expect(page.locator("main")).to_contain_text(layers[0], timeout=WORK_MS)
    # Before it is removed: a page of what is gone asks for it once more.
    ada.go("/")


def test_an_appliance_from_an_address_becomes_a_machine_and_one_again(
    ada: Window, place: Place, tmp_path: Path
) -> None:
    """Its address and checksum are all that is typed; then an appliance is made of what it became."""
    page = ada.page
    with appliance_served(tmp_path) as (address, digest):

        def is_offered() -> bool:
            page.goto(f"{ada.url}/hosts/1/import-domain/")
            return page.locator("#f-into option", has_text=place.pool).count() > 0

        until(is_offered, 30, every=0.5, what=f"{place.pool} is offered")
        page.get_by_label("Address").fill(address)
        page.get_by_label("Checksum").fill(digest)
        into = page.locator("#f-into option", has_text=place.pool).get_attribute("value")
        page.locator("#f-into").select_option(value=into or "")
        page.get_by_role("button", name="Fetch it and look into it").click()
        # It is fetched, looked into, and the page goes on by itself.
        expect(page.get_by_label("Name", exact=True)).to_have_value("small", timeout=WORK_MS)
    expect(page.locator("[name=memory]")).to_have_value("64")
    expect(page.locator("main")).to_contain_text("small-disk1.vmdk")
    page.get_by_label("Name", exact=True).fill(place.name)
    page.get_by_label("Its disks go to").select_option(value=into or "")
    expect(page.locator("[data-plan-steps]")).to_contain_text(f"{place.pool}/{place.name}.qcow2")
    make(page, "Import a machine")
    line = row(page, place.name)
    expect(line.locator(".state.s-running")).to_be_visible(timeout=WORK_MS)
    virsh("destroy", place.name)
    expect(line.locator(".state.s-shutoff")).to_be_visible(timeout=EVENT_MS)
    line.get_by_role("link", name=place.name).click()
    page.goto(f"{ada.url}/vms/{number_in(page.url)}/export_ova/")
    page.get_by_label("Into the pool").select_option(value=into or "")
    expect(page.locator("[data-plan-steps]")).to_contain_text(f"{place.name}-disk1.vmdk")
    page.locator(".card-footer").get_by_role("button", name="Export as OVA").click()
    page.get_by_role("cell").get_by_role("link", name="Export as OVA").click(timeout=WORK_MS)
    page.get_by_role("link", name="To the volume").click(timeout=WORK_MS)
    expect(page.locator("main")).to_contain_text(f"{place.name}.ova")
    with tarfile.open(place.folder / f"{place.name}.ova") as tar:
        assert tar.getnames() == [f"{place.name}.ovf", f"{place.name}.mf", f"{place.name}-disk1.vmdk"]


@contextmanager
def appliance_served(folder: Path) -> Iterator[tuple[str, str]]:
    """The address of a small appliance on this machine, and its SHA-256."""
    disk = b"".join(vmdk.written([CODE.ljust(510, b"\0") + b"\x55\xaa"], 8 * 2**20, "small-disk1.vmdk"))
    parts = {"small.ovf": small_envelope("small-disk1.vmdk", 8 * 2**20), "small-disk1.vmdk": disk}
    data = tar_of(parts | {"small.mf": manifest_of(parts)})
    (folder / "small.ova").write_bytes(data)
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/small.ova", hashlib.sha256(data).hexdigest()
        server.shutdown()
