"""nginx's configuration, as nginx itself reads it, and what it says to whom."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.nginx import render
from tests.stack import free_port


def settings(home: Path, **more: str) -> dict[str, str]:
    return {"WEBVIRT_HOME": str(home), "WEBVIRT_PORT": str(free_port()), **more}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"WEBVIRT_BIND": "::1"},
        {"WEBVIRT_TRUSTED_PROXIES": "127.0.0.1 10.0.0.0/8 fd00::/8"},
        {"WEBVIRT_PUBLIC_URL": "https://vms.example.org"},
    ],
)
@pytest.mark.parametrize("journal", [False, True])
def test_nginx_accepts_it_without_a_warning(tmp_path: Path, more: dict[str, str], journal: bool) -> None:
    (tmp_path / "run/nginx").mkdir(parents=True)
    conf = tmp_path / "run/nginx.conf"
    conf.write_text(render(settings(tmp_path, **more), root=False, journal=journal))
    done = subprocess.run(
        ["nginx", "-t", "-p", tmp_path, "-e", "stderr", "-c", conf], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr.replace('the "user" directive', "")


def test_the_scheme_is_what_people_type_and_never_what_a_client_claims(tmp_path: Path) -> None:
    plain = render(settings(tmp_path), root=False, journal=False)
    secure = render(settings(tmp_path, WEBVIRT_PUBLIC_URL="https://vms.example.org"), root=False, journal=False)
    assert "default http;" in plain
    assert "default https;" in secure


def test_nobody_is_trusted_unless_named(tmp_path: Path) -> None:
    assert "real_ip" not in render(settings(tmp_path), root=False, journal=False)
    with pytest.raises(ValueError, match="WEBVIRT_TRUSTED_PROXIES"):
        render(settings(tmp_path, WEBVIRT_TRUSTED_PROXIES="10.0.0.1; include /etc/passwd"), root=False, journal=False)
