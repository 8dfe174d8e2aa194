"""`python -m tests.postgresql`: see `inside.answer`."""

from __future__ import annotations

import django

django.setup()

# Models can be imported only after that.
from tests.postgresql.inside import answer  # noqa: E402

answer()
