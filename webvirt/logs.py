"""What may stand in the log: never the path of a one-time link, whoever writes of its request."""

from __future__ import annotations

import logging
import re

LINK = re.compile(r"/(setup|link|guest)/(?!\d+/console/)[^/\s]+")


class WithoutLinks(logging.Filter):
    """Masks them in every line, as the front does in its own."""

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        if LINK.search(text):
            record.msg, record.args = LINK.sub(r"/\1/...", text), ()
        return True
