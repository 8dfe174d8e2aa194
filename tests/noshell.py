"""No test run starts a shell by `shell=True`, `os.system` or `os.popen`, whoever asks for it: the interpreter tells.

What a person would type is run as such, by name: `["bash", "-c", command]`.
"""

from __future__ import annotations

import sys

SHELL = ["/bin/sh", "-c"]
started: list[str] = []
"""What was asked of a shell, for the end of the run: an exception may be caught on its way."""


def refuse_shells(event: str, arguments: tuple[object, ...]) -> None:
    """An audit hook: `subprocess.Popen` is told with its words, which `shell=True` puts behind a shell's."""
    if event == "os.system":
        found = arguments[0]
    elif event == "subprocess.Popen" and list(arguments[1])[:2] == SHELL:  # type: ignore[call-overload]
        found = arguments[1]
    else:
        return
    started.append(str(found))
    raise AssertionError(f"a shell was started: {found}")


sys.addaudithook(refuse_shells)
