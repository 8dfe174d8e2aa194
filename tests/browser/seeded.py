"""An installation full of rows and no guests, for looking at pages: nothing on it changes by itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.stack import Stack, running_stack

ADMINISTRATOR = ("ada", "correct horse battery")
ADD_ADMINISTRATOR = f"""
from webvirt.services.people import create_first_administrator
create_first_administrator(*{ADMINISTRATOR})
"""
# The numbers are those that tests/seed.py makes: machine 5 has everything, 4 the longest names; host 4 is down.
PAGES = [
    "/",
    "/vms/",
    "/vms/?state=trouble",
    "/vms/?q=nothing-is-called-so",
    "/vms/bin/",
    "/vms/flavours/",
    "/vms/flavours/add/",
    "/vms/flavours/1/",
    "/vms/5/",
    "/vms/4/",
    "/vms/5/hardware/",
    "/vms/5/history/",
    "/vms/5/xml/",
    "/vms/5/edit/",
    "/vms/5/rename/",
    "/vms/5/delete/",
    "/vms/5/clone/",
    "/vms/5/clone/?host=2",
    "/vms/5/to_template/",
    "/vms/?state=templates",
    "/hosts/1/create-domain/",
    "/hosts/1/import-domain/",
    "/hosts/1/look_elsewhere/",
    "/vms/5/export_ova/",
    "/vms/5/send_key/",
    "/vms/5/to_vnc/",
    "/hosts/",
    "/hosts/1/",
    "/hosts/4/",
    "/hosts/1/machines/",
    "/hosts/1/log/",
    "/hosts/1/edit/",
    "/hosts/add/",
    "/hosts/1/storage/",
    "/hosts/1/networks/",
    "/hosts/1/devices/",
    "/hosts/2/devices/",
    "/hosts/1/create-pool/",
    "/hosts/1/create-network/",
    "/pools/",
    "/pools/?q=nothing-is-called-so",
    "/pools/1/",
    "/pools/3/",
    "/pools/1/definition/",
    "/pools/1/create-volume/",
    "/volumes/1/",
    "/volumes/3/",
    "/volumes/3/resize/",
    "/volumes/3/clone/",
    "/images/",
    "/images/?q=nothing-is-called-so",
    "/images/cloud/",
    "/images/cloud/add/",
    "/images/cloud/1/",
    "/images/cloud/1/get/",
    "/networks/",
    "/networks/1/",
    "/networks/2/",
    "/networks/1/definition/",
    "/networks/1/edit/",
    "/networks/1/keep_address/",
    "/hosts/1/create-filter/",
    "/filters/1/",
    "/filters/7/",
    "/filters/7/edit/",
    "/vms/5/set_filter/",
    "/hosts/1/create-secret/",
    "/secrets/1/",
    "/secrets/2/",
    "/secrets/1/set_value/",
    "/operations/",
    "/operations/1/",
    "/operations/58/",
    "/people/",
    "/people/add/",
    "/people/1/",
    "/people/services/add/",
    "/people/8/",
    "/people/groups/",
    "/people/groups/2/",
    "/people/roles/",
    "/people/roles/1/",
    "/people/who/?q=s",
    "/people/who/?on=domain:5",
    "/people/who/?person=2",
    "/projects/",
    "/projects/1/",
    "/projects/2/",
    "/projects/1/quota/",
    "/projects/1/uses/",
    "/projects/usage/",
    "/vms/5/set_project/",
    "/consoles/",
    "/vms/5/guests/",
    "/recordings/",
    "/recordings/1/",
    "/audit/",
    "/audit/?object=nothing-is-called-so",
    "/audit/1/",
    "/audit/9/",
    "/me/",
    "/me/password/",
    "/me/confirm/",
    "/me/factors/",
    "/me/factors/add/",
    "/logout/",
    "/vms/consoles/",
    "/vms/consoles/?ids=5,4,1,2,3",
    # From here on this browser looks at machines so.
    "/vms/?view=wall",
    "/vms/?q=nothing-is-called-so",
]
FILL = """
from tests.seed import seed
from tests.seed_recordings import add_recordings
from webvirt.models import Domain, User
seed({hosts}, {domains}, odd=True)
add_recordings(User.objects.get(username="ada"), list(Domain.objects.order_by("pk")[3:9]))
"""


def run(stack: Stack, program: str) -> str:
    """What a program prints that is run inside the installation."""
    return stack.manage("shell", "--no-imports", "--command", program)


@contextmanager
def seeded_stack(hosts: int = 4, domains: int = 120, settings: dict[str, str] | None = None) -> Iterator[Stack]:
    """Hosts, machines in every state, operations; the watcher sleeps, since none of these hosts exists."""
    with running_stack(settings) as stack:
        run(stack, ADD_ADMINISTRATOR)
        watcher = stack.kill("watch", signal.SIGSTOP)
        try:
            run(stack, FILL.format(hosts=hosts, domains=domains))
            yield stack
        finally:
            os.kill(watcher, signal.SIGCONT)
