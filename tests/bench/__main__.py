"""`python -m tests.bench [PART ...] [--json]`: measures an installation of its own and prints what was asked beside it.

As root, on a machine that has what `deploy/test` installs, and wrk. Exits with 1 when something falls short.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import django

from tests.stack import Stack

options = argparse.ArgumentParser(description=__doc__)
options.add_argument("parts", nargs="*", help="functions of PARTS of this folder's modules; all if none is named")
options.add_argument("--json", action="store_true", help="print the numbers as JSON")
options.add_argument("--port", type=int, default=8170)
asked = options.parse_args()

folder = tempfile.TemporaryDirectory(prefix="wvb-", ignore_cleanup_errors=True)
stack = Stack(Path(folder.name), port=asked.port)
stack.prepare()
os.environ.update(stack.env)
django.setup()

# Models can be imported only after that.
from tests.bench import events, machines, memory, pages, signin, storage  # noqa: E402
from tests.bench.house import House  # noqa: E402
from tests.bench.line import table  # noqa: E402

PARTS = {part.__name__: part for module in (memory, pages, events, storage, machines, signin) for part in module.PARTS}

if __name__ == "__main__":
    lines = []
    stack.start()
    try:
        house = House(stack)
        for name in asked.parts or PARTS:
            print(f"{name}:", file=sys.stderr, flush=True)
            found = PARTS[name](house)
            print(table(found), file=sys.stderr, flush=True)
            lines += found
    finally:
        stack.stop()
    print(json.dumps([line.json() for line in lines], indent=1) if asked.json else table(lines))
    sys.exit(not all(line.ok for line in lines))
