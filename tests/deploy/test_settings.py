"""The settings: every one is in the example, and the environment wins over the file."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from deploy.supervise import read_procfile
from tests.stack import PROJECT
from webvirt.settings import mail, one_of

FRONT_ONLY = {"WEBVIRT_TRUSTED_PROXIES"}
"""What nginx alone needs to know."""


def known_settings() -> set[str]:
    source = (PROJECT / "webvirt/settings.py").read_text()
    return (
        set(re.findall(r"""(?:setting|whole_number|one_of|networks|syslog)\(\s*["']([A-Z_]+)["']""", source))
        | FRONT_ONLY
    )


def test_the_example_lists_every_setting_and_no_other() -> None:
    example = (PROJECT / "deploy/webvirt.env.example").read_text()
    assert set(re.findall(r"^# ([A-Z_]+)=", example, re.MULTILINE)) == known_settings()


def test_nothing_reads_a_setting_that_the_example_does_not_know() -> None:
    for path in [*(PROJECT / "webvirt").rglob("*.py"), *(PROJECT / "deploy").glob("*.py")]:
        used = set(
            re.findall(r"""environ(?:ment)?(?:\.get\(|\[)["']((?:WEBVIRT|DATABASE)_[A-Z_]+)["']""", path.read_text())
        )
        assert used <= known_settings(), path


def test_where_mail_goes() -> None:
    assert mail("") == {}
    found = mail("smtp://u%40x:p@mail.example.org")
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found["EMAIL_HOST_USER"]) == ("mail.example.org", 587, "u@x")
    assert (found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (True, False)
    found = mail("smtps://mail.example.org:4465")
    assert (found["EMAIL_PORT"], found["EMAIL_USE_TLS"], found["EMAIL_USE_SSL"]) == (4465, False, True)
    assert not mail("smtp://localhost:25")["EMAIL_USE_TLS"]
    with pytest.raises(ImproperlyConfigured, match="WEBVIRT_SMTP"):
        mail("mail.example.org")


def test_a_word_that_is_none_of_those_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBVIRT_SECOND_FACTOR", "all")
    with pytest.raises(ImproperlyConfigured, match="WEBVIRT_SECOND_FACTOR must be one of nobody, administrators"):
        one_of("WEBVIRT_SECOND_FACTOR", "nobody", "administrators", "everybody")


def loaded(home: Path, **environment: str) -> dict[str, str]:
    """What `load_settings` of deploy/lib.sh makes of a home and an environment."""
    done = subprocess.run(
        ["bash", "-euc", f"source {PROJECT}/deploy/lib.sh; load_settings; env -0"],
        env={"PATH": os.environ["PATH"], "WEBVIRT_HOME": str(home), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "webvirt.env").write_text(
        "# a comment\nWEBVIRT_PORT=8001\nWEBVIRT_BIND=127.0.0.2\nDATABASE_URL=postgres://a:b$(id)=c@d/e\nnonsense"
    )
    found = loaded(tmp_path, WEBVIRT_PORT="8002")
    assert found["WEBVIRT_PORT"] == "8002"
    assert found["WEBVIRT_BIND"] == "127.0.0.2"
    assert found["DATABASE_URL"] == "postgres://a:b$(id)=c@d/e"
    assert loaded(tmp_path / "empty")["WEBVIRT_PORT"] == "8000"


def test_a_home_that_a_shell_or_a_socket_could_not_take_is_refused(tmp_path: Path) -> None:
    for home in (f"{tmp_path}/a b", f"{tmp_path}/$(id)", "/" + "long/" * 20):
        done = subprocess.run(
            [PROJECT / "deploy/manage", "check"],
            env=os.environ | {"WEBVIRT_HOME": home},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert "must be a path of letters" in done.stderr


def test_systemd_starts_the_same_processes() -> None:
    target = (PROJECT / "deploy/systemd/webvirt.target").read_text()
    names = [child.name for child in read_procfile(PROJECT / "deploy/Procfile")]
    assert re.findall(r"webvirt@([a-z0-9-]+)\.service", target) == names
