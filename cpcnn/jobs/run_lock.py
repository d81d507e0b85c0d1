"""One training at a time in a run's folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import UsageError

if sys.platform != "win32":  # nothing is locked there
    from fcntl import LOCK_EX, LOCK_NB, flock


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from training into a folder; UsageError if one does already.

    The lock is on the folder itself. It leaves no file, and ends with the process at the latest.
    """
    if sys.platform == "win32":
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UsageError(
            f"{folder} is being trained by another process.",
            suggestion="Wait until that one has ended, or end it with Ctrl-C.",
        ) from None
    except OSError:  # a file system without locks
        pass
    try:
        yield
    finally:
        os.close(handle)
