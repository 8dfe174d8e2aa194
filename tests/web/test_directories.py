"""What groups are called in the directory, on their page and over REST; and what of all this is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.test import Client

from tests.people import Cast
from tests.stack import PROJECT
from tests.web.conftest import Enter
from webvirt.models import AuditLine, DirectoryName, Identity, Source, User
from webvirt.services import directories
from webvirt.services.directories import LONGEST_NAME, MOST_NAMES


@pytest.fixture
def group(db: None) -> Group:
    return Group.objects.create(name="team")


def test_an_administrator_writes_the_names_on_the_page_of_the_group(
    cast: Cast, enter: Enter, group: Group, settings: Any
) -> None:
    administrator, page = enter("administrator"), f"/people/groups/{group.pk}/"
    assert "In the directory" not in administrator.get(page).content.decode()
    settings.WEBVIRT_LDAP_URL = ("ldaps://ldap.example.org",)
    assert "In the directory" in administrator.get(page).content.decode()
    typed = "staff\r\n\r\n  cn=<admins>,dc=x  \r\nstaff\r\n"
    administrator.post(f"{page}directory/", {"directory_names": typed})
    assert directories.names_of(group) == ["staff", "cn=<admins>,dc=x"]
    assert ">staff\ncn=&lt;admins&gt;,dc=x</textarea>" in administrator.get(page).content.decode()
    line = AuditLine.objects.filter(event="group.directory").get()
    assert (line.name, line.details) == ("team", '{"names":["staff","cn=<admins>,dc=x"],"before":[]}')
    # Names stay to be seen, and taken away, where there is no directory any more.
    settings.WEBVIRT_LDAP_URL = ()
    assert "In the directory" in administrator.get(page).content.decode()
    administrator.post(f"{page}directory/", {"directory_names": ""})
    assert not DirectoryName.objects.exists()
    assert enter("owner").post(f"{page}directory/", {"directory_names": "x"}).status_code == 403


@pytest.mark.parametrize("typed", ["x" * (LONGEST_NAME + 1), "a\tb\x07", "\n".join(map(str, range(MOST_NAMES + 1)))])
def test_what_no_group_is_called(cast: Cast, enter: Enter, group: Group, typed: str) -> None:
    answer = enter("administrator").post(f"/people/groups/{group.pk}/directory/", {"directory_names": typed})
    assert answer.status_code == 400
    assert "invalid-feedback" in answer.content.decode()
    assert not DirectoryName.objects.exists()


def test_from_the_shell_an_account_is_kept_here_and_nobody_is_locked_out(cast: Cast, enter: Enter) -> None:
    User.objects.filter(pk=cast.administrator.pk).update(password="!unusable")
    Identity.objects.create(user=cast.administrator, source=Source.LDAP, subject="uuid:1")
    with pytest.raises(CommandError, match="Add --local"):
        call_command("signinlink", "administrator", stdout=StringIO())
    out = StringIO()
    call_command("signinlink", "administrator", "--local", stdout=out)
    client = Client()
    address = out.getvalue().strip().removeprefix("http://127.0.0.1:8000")
    client.post(address, {"password": "eleven green apples", "again": "eleven green apples"})
    assert client.get("/people/").status_code == 200
    assert not Identity.objects.exists()
    assert AuditLine.objects.filter(event="person.local").count() == 1


LIBRARIES = ("authlib", "joserfc", "ldap", "requests", "webvirt.web.provider")
LOADED = f"""
import sys
import deploy.preload
from django.urls import get_resolver
get_resolver().url_patterns
print(sorted(name for name in sys.modules if name in {LIBRARIES}))
"""


@pytest.mark.parametrize("is_set", [False, True])
def test_the_web_process_loads_nothing_of_it(tmp_path: Path, is_set: bool) -> None:
    """Not before somebody goes to the provider; of LDAP never."""
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("x")
    values = {
        "WEBVIRT_OIDC_ISSUER": "https://login.example.org",
        "WEBVIRT_OIDC_CLIENT_ID": "webvirt",
        "WEBVIRT_OIDC_CLIENT_SECRET_FILE": str(secret),
        "WEBVIRT_LDAP_URL": "ldaps://ldap.example.org",
        "WEBVIRT_LDAP_PEOPLE_BASE": "dc=example,dc=org",
    }
    environment = os.environ | (values if is_set else {})
    done = subprocess.run(
        [sys.executable, "-c", LOADED],
        cwd=PROJECT,
        env=environment | {"DJANGO_SETTINGS_MODULE": "webvirt.settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
