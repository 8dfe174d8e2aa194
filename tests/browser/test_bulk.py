"""Many at once in a browser: ticks that outlive what happens meanwhile, and a question that is answered by number."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from tests.browser.window import EVENT_MS, Window
from tests.guests import virsh
from tests.until import until

pytestmark = [pytest.mark.browser, pytest.mark.stack]


@pytest.fixture
def folder() -> Iterator[Path]:
    """The folder of a running pool of the same name, with three volumes."""
    name = f"wvb-many-{uuid4().hex[:4]}"
    folder = Path("/var/tmp", name)
    folder.mkdir()
    virsh("pool-define-as", name, "dir", "--target", str(folder))
    virsh("pool-start", name)
    for each in "abc":
        virsh("vol-create-as", name, f"{each}.raw", "1M", "--format", "raw")
    # Volumes tell of nothing; a refreshed pool does.
    virsh("pool-refresh", name)
    yield folder
    virsh("pool-destroy", name, check=False)
    virsh("pool-undefine", name, check=False)
    shutil.rmtree(folder)


def test_several_volumes_are_deleted_by_their_number(ada: Window, folder: Path) -> None:
    page = ada.page
    ada.go(f"/pools/?q={folder.name}")
    page.get_by_role("link", name=folder.name).click(timeout=EVENT_MS)
    tick = {each: page.get_by_role("checkbox", name=f"{each}.raw") for each in "abcd"}
    expect(tick["c"]).to_be_visible(timeout=EVENT_MS)
    tick["a"].check()
    tick["c"].check()
    virsh("vol-create-as", folder.name, "d.raw", "1M", "--format", "raw")
    virsh("pool-refresh", folder.name)
    expect(tick["d"]).to_be_visible(timeout=EVENT_MS)
    assert [each for each, box in tick.items() if box.is_checked()] == ["a", "c"]
    bar = page.get_by_role("toolbar", name="For what is ticked")
    expect(bar).to_contain_text("2 ticked")
    bar.get_by_role("button", name="Delete").click()
    sure = page.get_by_role("dialog")
    expect(sure.get_by_role("listitem")).to_have_text(["a.raw 1\xa0MiB", "c.raw 1\xa0MiB"], use_inner_text=True)
    yes = sure.get_by_role("button", name="Delete")
    for wrong in ("", "1", "a.raw"):
        sure.get_by_label("Type 2").fill(wrong)
        expect(yes).to_be_disabled()
    sure.get_by_label("Type 2").fill("2")
    yes.click()
    until(lambda: sorted(path.name for path in folder.iterdir()) == ["b.raw", "d.raw"], 20, what="two are gone")
    expect(page.get_by_role("status").filter(has_text=re.compile("2 of 2 done"))).to_be_visible(timeout=EVENT_MS)
    expect(tick["a"]).to_be_hidden(timeout=EVENT_MS)
    expect(tick["b"]).to_be_visible()
    expect(bar).to_be_hidden()
