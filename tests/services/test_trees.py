"""Trees of systems: which are offered, where their kernels are, and what their indexes say."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from webvirt.services import osinfo, trees
from webvirt.services.trees import Boot

TREE = "https://example.org/os/"
DIGEST = "ab" * 32
INDEX = f"""
[general]
name = Tux 9
[checksums]
images/pxeboot/vmlinuz = sha256:{DIGEST}
images/pxeboot/initrd.img = md5:1234
[images-x86_64]
kernel = images/pxeboot/vmlinuz
initrd = images/pxeboot/initrd.img
[images-aarch64]
kernel = ../../etc/passwd
initrd = initrd
[images-s390x]
kernel = https://elsewhere.example/vmlinuz
initrd = /initrd
"""
DATABASE = """<libosinfo><os id="http://tux.org/tux/{n}"><short-id>tux{n}</short-id><name>Tux {n}</name>
<family>linux</family><release-date>{released}</release-date>{end}
<tree arch="x86_64"><url>http://example.org/tux{n}/server/</url><variant id="server"/></tree>
<tree arch="x86_64"><url>http://deb.debian.org/tux{n}/</url><variant id="everything-netinst"/></tree>
<tree arch="aarch64"><url>http://example.org/tux{n}/arm/</url></tree>
<tree arch="x86_64"/></os></libosinfo>"""


def test_an_index_says_where_the_kernel_is() -> None:
    boot = trees.boot_in(INDEX, "x86_64")
    assert boot == Boot("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img", checksums=(DIGEST, ""))


@pytest.mark.parametrize("arch", ["aarch64", "s390x", "riscv64"])
def test_what_is_outside_of_the_tree_is_none_of_it(arch: str) -> None:
    assert trees.boot_in(INDEX, arch) is None


@pytest.mark.parametrize("text", ["", "<html>", "[images-x86_64", "kernel = x", "[images-x86_64]\nkernel = x"])
def test_what_is_no_index_says_nothing(text: str) -> None:
    assert trees.boot_in(text, "x86_64") is None


def test_each_family_has_its_own_place() -> None:
    debian = trees.layouts("https://deb.debian.org/debian/dists/trixie/main/installer-amd64/", "x86_64")[0]
    assert debian.kernel == "current/images/netboot/debian-installer/amd64/linux"
    assert (debian.sums, debian.base) == ("current/images/SHA256SUMS", "current/images/")
    assert trees.layouts(TREE, "x86_64")[0].kernel == "images/pxeboot/vmlinuz"
    assert "boot/x86_64/loader/linux" in [boot.kernel for boot in trees.layouts(TREE, "x86_64")]
    assert trees.joined(TREE, "a/b") == trees.joined(TREE.rstrip("/"), "a/b") == "https://example.org/os/a/b"


@pytest.mark.parametrize(
    ("os", "told"),
    [
        ("fedora43", f"inst.repo={TREE}"),
        ("centos-stream10", f"inst.repo={TREE}"),
        ("opensusetumbleweed", f"install={TREE}"),
        ("sle15sp4", f"install={TREE}"),
        ("debian13", ""),
        ("", ""),
    ],
)
def test_an_installer_is_told_where_its_tree_is(os: str, told: str) -> None:
    assert trees.arguments_for(os, TREE) == told


def test_current_systems_are_offered_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tux.org").mkdir()
    for n, released, end in ((8, "2020-01-01", ""), (9, "2022-01-01", ""), (7, "2019-01-01", "2021-01-01")):
        text = DATABASE.format(n=n, released=released, end=f"<eol-date>{end}</eol-date>" if end else "")
        (tmp_path / "tux.org" / f"tux-{n}.xml").write_text(text)
    monkeypatch.setattr(osinfo, "FOLDER", tmp_path)
    monkeypatch.setattr(trees, "LACKING", {})
    offered = trees.trees("x86_64", date(2026, 1, 1))
    # With encryption where the server has it, and the variant that installs everything.
    assert [(tree.os, tree.url) for tree in offered] == [
        ("tux9", "https://deb.debian.org/tux9/"),
        ("tux8", "https://deb.debian.org/tux8/"),
    ]
    assert trees.trees("aarch64", date(2026, 1, 1))[0].url == "http://example.org/tux9/arm/"
    assert trees.trees("m68k", date(2026, 1, 1)) == ()


def test_without_the_database_the_newest_are_offered_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(osinfo, "FOLDER", tmp_path)
    assert {"debian13", "almalinux10"} <= {tree.os for tree in trees.trees("x86_64")}
