"""Locks on open files that never wait, as far as the system has them."""

from __future__ import annotations

import sys

if sys.platform != "win32":
    from fcntl import LOCK_EX, LOCK_NB, LOCK_SH, flock


def lock_shared(handle: int) -> bool:
    """Say that a file is in use; False if another process is about to remove it.

    Where the system knows no locks it is used without.
    """
    if sys.platform == "win32":  # open files cannot be removed there
        return True
    try:
        flock(handle, LOCK_SH | LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def lock_alone(handle: int) -> bool:
    """Take a file for oneself; False if somebody uses it, or if nobody can know."""
    if sys.platform == "win32":
        return True
    try:
        flock(handle, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True
