"""The settings: every one is in the example, and the environment wins over the file."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
    return set(re.findall(r"""\w\(\s*["']((?:WEBVIRT|DATABASE)_[A-Z_]+)["']""", source)) | FRONT_ONLY


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


PROVIDER = {
    "WEBVIRT_OIDC_ISSUER": "https://login.example.org/realms/staff",
    "WEBVIRT_OIDC_CLIENT_ID": "webvirt",
    "WEBVIRT_OIDC_CLIENT_SECRET_FILE": "{secret}",
}
DIRECTORY = {
    "WEBVIRT_LDAP_URL": "ldaps://dc1.example.org ldap://[::1]:3389",
    "WEBVIRT_LDAP_PEOPLE_BASE": "dc=example,dc=org",
    "WEBVIRT_LDAP_BIND_DN": "cn=webvirt,dc=example,dc=org",
    "WEBVIRT_LDAP_BIND_PASSWORD_FILE": "{secret}",
}


def started(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The settings loaded in an environment; `{secret}`, `{open}` and `{empty}` are files."""
    files = {name: tmp_path / name for name in ("secret", "open", "empty")}
    for name, path in files.items():
        path.touch(mode=0o644 if name == "open" else 0o600)
        path.write_text("" if name == "empty" else "hidden well")
    program = (
        "from webvirt import settings as s; print(s.WEBVIRT_OIDC_NAME, s.WEBVIRT_LDAP_URL, s.WEBVIRT_LDAP_GROUPS_BASE)"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=os.environ | {name: value.format_map(files | {"name": "{name}"}) for name, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )


def test_where_people_sign_in_besides(tmp_path: Path) -> None:
    done = started(tmp_path, **PROVIDER, **DIRECTORY)
    servers = ("ldaps://dc1.example.org", "ldap://[::1]:3389")
    assert done.stdout.strip() == f"login.example.org {servers} dc=example,dc=org", done.stderr


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("WEBVIRT_OIDC_ISSUER", "http://login.example.org", "WEBVIRT_OIDC_ISSUER must look like https://"),
        ("WEBVIRT_OIDC_ISSUER", "https://", "WEBVIRT_OIDC_ISSUER must look like https://"),
        ("WEBVIRT_OIDC_ISSUER", "", "WEBVIRT_OIDC_CLIENT_ID is of no use without WEBVIRT_OIDC_ISSUER"),
        ("WEBVIRT_OIDC_CLIENT_ID", "", "WEBVIRT_OIDC_ISSUER is of no use without WEBVIRT_OIDC_CLIENT_ID"),
        ("WEBVIRT_OIDC_CLIENT_SECRET_FILE", "{open}", "can be read by others: chmod 600 it"),
        ("WEBVIRT_OIDC_CLIENT_SECRET_FILE", "{empty}", "there is nothing in"),
        ("WEBVIRT_OIDC_CLIENT_SECRET_FILE", "/nowhere", "/nowhere cannot be read"),
        ("WEBVIRT_LDAP_URL", "ldap.example.org", "WEBVIRT_LDAP_URL must look like ldaps://"),
        ("WEBVIRT_LDAP_URL", "ldaps://a.example.org ldap://", "WEBVIRT_LDAP_URL must look like ldaps://"),
        ("WEBVIRT_LDAP_URL", "ldaps://a.example.org/dc=x", "WEBVIRT_LDAP_URL must look like ldaps://"),
        ("WEBVIRT_LDAP_URL", "", "WEBVIRT_LDAP_PEOPLE_BASE is of no use without WEBVIRT_LDAP_URL"),
        ("WEBVIRT_LDAP_PEOPLE_BASE", "people", "WEBVIRT_LDAP_PEOPLE_BASE must look like ou=people"),
        ("WEBVIRT_LDAP_BIND_PASSWORD_FILE", "", "is of no use without WEBVIRT_LDAP_BIND_PASSWORD_FILE"),
        ("WEBVIRT_LDAP_PERSON_FILTER", "(uid=%s)", "WEBVIRT_LDAP_PERSON_FILTER must be a filter in brackets"),
        ("WEBVIRT_LDAP_PERSON_FILTER", "(|(uid={name})", "WEBVIRT_LDAP_PERSON_FILTER must be a filter in brackets"),
        ("WEBVIRT_LDAP_CA_FILE", "/nowhere.pem", "WEBVIRT_LDAP_CA_FILE: /nowhere.pem cannot be read"),
    ],
)
def test_what_is_wrong_about_it_stops_the_start(tmp_path: Path, name: str, value: str, said: str) -> None:
    done = started(tmp_path, **(PROVIDER | DIRECTORY | {name: value}))
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "ImproperlyConfigured" in last
    assert said in last
    assert "hidden well" not in done.stderr


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
