"""The LDAP directory: whether somebody's name and password are right, who they are there, and in which groups.

A child asks (`services.ldapchild`), which is ended when a server takes too long; then the next server is asked.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from dataclasses import asdict
from urllib.parse import urlsplit

from django.conf import settings
from django.utils.translation import gettext as _

from webvirt.models import DirectoryName, Source
from webvirt.services.directories import Found, StayOut
from webvirt.services.ldapterms import Answer, Question

SECONDS = 6
"""The longest that one server may take for all of it."""
CHILD = (sys.executable, "-m", "webvirt.services.ldapchild")

log = logging.getLogger(__name__)


def person(name: str, password: str) -> tuple[str, Found | None]:
    """What the directory calls whoever is meant by this name, or nothing; and who it is, if the password is right.

    Raises StayOut where no server can be asked.
    """
    for url in settings.WEBVIRT_LDAP_URL:
        told = answer_of(question(url, name, password))
        if not told.trouble:
            found = Found(Source.LDAP, told.subject, told.called, frozenset(told.groups))
            return told.called, found if told.right else None
        log.error("LDAP: %s: %s", url, told.trouble)
    sentence = _("The directory cannot be asked at the moment. Accounts that are kept here work all the same.")
    raise StayOut(sentence, "the LDAP directory cannot be asked", name)


def question(url: str, name: str, password: str) -> Question:
    to_this_machine = urlsplit(url).hostname in settings.LOOPBACK
    return Question(
        url,
        encrypted=not to_this_machine or settings.WEBVIRT_LDAP_CA_FILE != settings.SYSTEM_AUTHORITIES,
        ca_file=settings.WEBVIRT_LDAP_CA_FILE,
        bind_dn=settings.WEBVIRT_LDAP_BIND_DN,
        password_file=settings.WEBVIRT_LDAP_BIND_PASSWORD_FILE,
        people_base=settings.WEBVIRT_LDAP_PEOPLE_BASE,
        person_filter=settings.WEBVIRT_LDAP_PERSON_FILTER,
        groups_base=settings.WEBVIRT_LDAP_GROUPS_BASE,
        name=name,
        password=password,
        groups=list(DirectoryName.objects.order_by().values_list("name", flat=True).distinct()),
    )


def answer_of(asked: Question) -> Answer:
    """What the child finds out; nothing secret stands in its arguments."""
    try:
        done = subprocess.run(
            CHILD,
            cwd=settings.BASE_DIR,
            # Nothing but what is set here counts, whatever this machine has for other programs.
            env=os.environ | {"LDAPNOINIT": "1"},
            input=json.dumps(asdict(asked)),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(trouble="it does not answer")
    if done.returncode:
        return Answer(trouble=(done.stderr.strip().splitlines() or ["the child ended"])[-1])
    return Answer(**json.loads(done.stdout))
