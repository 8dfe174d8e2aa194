"""The console proxy: carries a guest's screen or serial line to a browser, one small process for each console.

`server` listens; `usher` finds out, in a process that can be killed, who is let in and where the display is (`dial`,
`ssh`); `pump` carries the bytes through `frames` and `rfb`; `keeper` watches the leases of all. A serial line is read
by one process for all who watch it (`serial`, `tap`).
"""

from __future__ import annotations

import sys
import warnings

if "numpy" not in sys.modules:
    # websockify's frame decoder would like numpy, which is 10 MiB. The frames are ours.
    sys.modules["numpy"] = None  # type: ignore[assignment]
    warnings.filterwarnings("ignore", message="no 'numpy' module")
    import websockify.websocket  # noqa: F401

    del sys.modules["numpy"]
