"""Room on the disk: what was not used for longest is removed, never what a process uses."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .locks import lock_alone
from .place import free_space
from .segment import NAME, PASSING


@dataclass(frozen=True)
class KeptFile:
    """A file of the cache: its size, and when it was used last."""

    path: Path
    size: int
    used: float

    @property
    def passing(self) -> bool:
        """Whether it is, or was, being written."""
        return self.path.name.endswith(PASSING)


def make_room(folder: Path, needed: int, limit: int) -> bool:
    """Remove what must go for `needed` more bytes; False if they do not fit.

    Neither may the cache grow beyond `limit` bytes, nor leave less of the disk than it must. What
    ended processes have left half written goes in any case.
    """
    files = kept_files(folder)
    for file in files:
        if file.passing and remove_unused(file.path):
            files = [other for other in files if other is not file]
    taken = sum(file.size for file in files)
    free = free_space(folder)
    for file in sorted(files, key=lambda file: file.used):
        if taken + needed <= limit and needed <= free:
            return True
        if not file.passing and remove_unused(file.path):
            taken -= file.size
            free = free_space(folder)
    return taken + needed <= limit and needed <= free


def kept_files(folder: Path) -> list[KeptFile]:
    """Return the segments of all stores, the unfinished ones too."""
    found = []
    for store in _entries(folder):
        if not store.is_dir(follow_symlinks=False):
            continue
        for entry in _entries(Path(store.path)):
            if entry.name.endswith((NAME, PASSING)):
                with suppress(OSError):  # removed just now
                    status = entry.stat(follow_symlinks=False)
                    found.append(KeptFile(Path(entry.path), status.st_size, status.st_mtime))
    return found


def remove_unused(path: Path) -> bool:
    """Remove a file, and its folder if that is empty then; False if a process uses it."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        if not lock_alone(handle):
            return False
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    with suppress(OSError):
        path.parent.rmdir()
    return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
