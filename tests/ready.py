"""What is always the same and takes long to be made: it is made once, and copied by all that need it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("WEBVIRT_TEST_CACHE", Path(__file__).resolve().parent.parent / "var"))
"""A home that outlives the tests: what all of them share is in it."""


@contextmanager
def made_once(name: str, sources: Iterable[Path], make: Callable[[Path], None]) -> Iterator[Path]:
    """`CACHE/name`, as `make` makes it there of these files: anew when one of them is another than before.

    One process makes it while the others wait, and nobody makes it anew while another copies it.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    made, stamp = CACHE / name, CACHE / f"{name}.made"
    with (CACHE / f"{name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = fingerprint(sources)
        if not stamp.exists() or stamp.read_text() != wanted:
            stamp.unlink(missing_ok=True)
            if made.is_dir():
                shutil.rmtree(made)
            made.unlink(missing_ok=True)
            make(made)
            stamp.write_text(wanted)
        yield made


def fingerprint(sources: Iterable[Path]) -> str:
    """A hash of files by their names and what is in them; of folders, of all that is in them."""
    found = hashlib.sha256()
    for source in sources:
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.is_file() and path.suffix != ".pyc":
                found.update(f"{path.relative_to(source.parent)}\n".encode())
                found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()
