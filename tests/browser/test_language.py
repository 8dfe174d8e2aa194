"""Chinese throughout: no sentence of ours is left in English, whoever asked for the language."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Opener
from tests.browser.seeded import ADMINISTRATOR
from tests.seed_rights import PEOPLE, SERVICE
from tests.seed_things import CLEAN_TRAFFIC, DEVICES
from tests.stack import Stack

pytestmark = [pytest.mark.browser, pytest.mark.stack]

CHINESE = re.compile("[\u4e00-\u9fff]")
WORD = re.compile("[A-Za-z]{2,}")
SPOKEN = """() => {
    const hidden = "script, style, code, pre, kbd, .mono, [lang]:not(html), [data-layout], [data-codes]";
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        if (!walker.currentNode.parentElement.closest(hidden)) found.push(walker.currentNode.data.trim());
    }
    for (const name of ["title", "placeholder", "aria-label", "alt"]) {
        for (const one of document.querySelectorAll(`[${name}]`)) found.push(one.getAttribute(name));
    }
    return [document.title, ...found];
}"""
"""Everything that a page says, seen or read out, but for what is a machine's language."""
TERMS = set(
    WORD.findall(
        """
        webvirt libvirt virsh QEMU KVM kvm qemu Xen LXC CPU vCPU KiB MiB GiB TiB API XML UUID SSH TLS TCP VNC EFI BIOS
        IOMMU AMD svm VT UTC DHCP MAC root host passthrough virtio pc hd network vda sda cpu cpuset io memory EPYC Rome
        NAT ISO NFS RBD ZFS LVM iSCSI Ceph Gluster IPv MTU VLAN Open vSwitch SHA qcow raw bridge ethernet virbr TiB
        IDE SATA TPM UEFI CD sda scsi virt ssh ed AAAA me laptop timezone Europe Berlin https debian fx
        ED CSV OVA OVF WebSocket Upgrade Connection deploy proxy conf example env http XS XL rolling FreeBSD
        PCI USB SCSI mac ipv cgroups Ctrl Alt AltGr Del Shift Super Esc Tab Enter Backspace PrtSc SysRq
        """
    )
)
"""Words that Chinese administrators read in Latin letters, too, and values that libvirt gives."""
HARDWARE = "|".join(re.escape(device.description) for device in DEVICES)
FILTERS = "|".join((*CLEAN_TRAFFIC, "clean-traffic", "no-outgoing-mail", "allow-…"))
SYSTEMS = (
    r"AlmaLinux \d+|Alpine Linux [\d.]+|Arch Linux|CentOS Stream \d+|Debian \d+|Fedora Linux \d+|"
    r"Fedora \d+|Rocky Linux \d+|openSUSE Leap [\d.]+|Ubuntu [\d.]+(?: LTS)?|"
    r"Microsoft Windows Server 2022|Red Hat Enterprise Linux 9\.4|Windows 2k22|openSUSE (?:Tumbleweed|[\d.]+)|"
    r"(?:Circle|Scientific) Linux [\d.]+|Debian testing|Fedora Silverblue \d+|Univention Corporate Server [\d.]+|"
    # The two letters that stand before each of them, and what images are called.
    r"^[A-Zo][a-z]$|[\w.…-]+\.(?:iso|img)|customer-42-….*|[0-9a-f]{64}"
)
DATA = re.compile(
    rf"(?:{SYSTEMS}|(?<!\w)/[\w./…-]+|\b(?:{HARDWARE}|{FILTERS}|client\.libvirt|of the office's Ceph))(?!\w)|"
    # Where the page is, and what it is looked at with.
    r"http://127\.0\.0\.1:\d+|Chrome, Linux|"
    r"\b(?:And a title.*|customer-42-a.*|Ask Ada[\s\S]*|Cannot recv data.*|"
    r"internal error.*|Domain not found.*|cn=admins.*|[\w@.]+\.example\.org|"
    r"default|backend|office|images|isos|fast|git|[\w.-]+\.(?:qcow2|vmdk|ovf|mf)|"
    rf"{'|'.join((*PEOPLE, SERVICE))}|"
    r"a+…a+|the team that.*|web team|Night shift|Starts again.*|shop|What sells.*|customer-42-m.*|"
    r"Application|Front of the shop|Nightly builds|ada|north|east|south|west|app-server|mail-relay|"
    r"(web|db|mail|build|cache|proxy|queue|backup)-\d+|customer-42|eu-central|needs-patching|prod|web|test)(?!\w)"
)
"""What people, hosts and their things are called in tests/seed.py, and what libvirt said there."""


SCRIPTED = (
    "/",
    "/vms/",
    "/vms/5/",
    "/vms/5/clone/",
    "/vms/5/console/",
    "/vms/5/console/window/",
    "/vms/5/console/?device=serial",
    "/hosts/1/create-domain/",
    "/hosts/1/import-domain/",
    "/pools/1/",
    "/images/",
    "/networks/1/",
    "/operations/",
    "/people/who/?on=domain:5",
    "/audit/",
    "/me/",
    "/me/factors/add/",
)
"""Where scripts have something to say. What the server says, tests/test_translations.py looks at on every page."""


def leftovers(page: Page) -> set[str]:
    """What a page says that is neither Chinese nor a term nor somebody's name."""
    said = [text for text in page.evaluate(SPOKEN) if not CHINESE.search(text)]
    return {text for text in said if set(WORD.findall(DATA.sub("", text))) - TERMS}


def test_what_the_browser_asks_for(open_window: Opener, full_stack: Stack) -> None:
    window = open_window(full_stack, locale="zh-CN")
    window.go("/login/")
    assert leftovers(window.page) == set()
    window.page.get_by_label("名称").fill(ADMINISTRATOR[0])
    window.page.get_by_label("密码").fill(ADMINISTRATOR[1])
    window.page.keyboard.press("Enter")
    expect(window.page.locator("#nav")).to_be_visible()
    found = {}
    for path in SCRIPTED:
        window.go(path)
        if words := leftovers(window.page):
            found[path] = words
    assert found == {}
    window.go("/vms/")
    window.page.keyboard.press("Control+k")
    expect(window.page.locator("#palette-list [role=option]").first).to_be_visible()
    assert leftovers(window.page) == set()


def test_what_one_chooses(open_as_ada: Opener, full_stack: Stack) -> None:
    window = open_as_ada(full_stack)
    window.go("/me/")
    expect(window.page.get_by_role("heading", name="API tokens")).to_be_visible()
    try:
        window.page.get_by_label("Language", exact=True).select_option(value="zh-hans")
        window.page.get_by_role("button", name="Save").click()
        expect(window.page.get_by_role("heading", name="API 令牌")).to_be_visible()
        assert window.page.evaluate("document.documentElement.lang") == "zh-hans"
    finally:
        window.page.locator("#f-language").select_option(value="")
        window.page.locator("form[action='/me/preferences/'] button").click()
        expect(window.page.get_by_role("heading", name="API tokens")).to_be_visible()
