"""Which content a file has, without reading it: known from its path, size, times and inode.

An entry is a fingerprint of path, place in a tar file, size, mtime and ctime in nanoseconds, and
inode, with the SHA-256 of what was read. A file that is written again gets another fingerprint, and
its old entry is never asked for any more. That holds unless it is written twice within one tick of
the file system's clock; so a file that was changed less than `SETTLED` before it was read gets no
entry, and is read again the next time. The ctime, which no program can set, tells of a file that
was replaced by one with the same size and mtime.

Entries lie in files that, like segments, are written once and never changed: each run adds one with
what it has learned, and one that finds many puts them together. So processes need no lock, and file
systems without any (network ones) will do; a database would need both.
"""

from __future__ import annotations

import hashlib
import os
import struct
import threading
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"cpcnn digests 1\n"
HEADER = struct.Struct("<16sQI")
ENTRY = np.dtype([("key", "<u8", 2), ("sha256", "u1", 32)])
NAME, FOLDER = ".digests", "digests"
MANY_FILES = 8
MOST_ENTRIES = 4_000_000  # 190 MB
AN_HOUR = 3600
SETTLED = 2_000_000_000  # ns; the coarsest clock of a file system, that of FAT

Key = bytes  # 16 bytes
NO_KEY = bytes(16)


def fingerprint(path: str, status: os.stat_result, offset: int = 0) -> Key:
    """Return what a file is known by, 16 bytes; in a tar file it has an offset."""
    numbers = (status.st_size, status.st_mtime_ns, status.st_ctime_ns or 0, status.st_ino, offset)
    absolute = path if os.path.isabs(path) else os.path.join(os.getcwd(), path)
    told = str(numbers).encode() + os.fsencode(absolute)
    return hashlib.blake2b(told, digest_size=len(NO_KEY)).digest()


def has_settled(status: os.stat_result, read_ns: int) -> bool:
    """Say whether a file that was read at a time (ns) cannot change any more unnoticed."""
    return max(status.st_mtime_ns, status.st_ctime_ns or 0) + SETTLED < read_ns


class DigestIndex:
    """The SHA-256 of files by fingerprint; read once, added to by threads, saved at the end."""

    def __init__(self, cache: Path) -> None:
        self.folder = cache / FOLDER
        entries = _newest_first(self.folder)
        self._entries = entries[np.argsort(entries["key"][:, 0], kind="stable")]
        self._first = np.ascontiguousarray(self._entries["key"][:, 0])
        self._new: dict[Key, bytes] = {}
        self._adding = threading.Lock()

    def find(self, keys: Sequence[Key]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the SHA-256 (N, 32) of N keys, and which are known (N,)."""
        asked = np.frombuffer(b"".join(keys), "<u8").reshape(-1, 2)
        digests = np.zeros((len(asked), 32), np.uint8)
        known = np.zeros(len(asked), bool)
        if len(self._entries):
            at = np.searchsorted(self._first, asked[:, 0])
            at[at == len(self._first)] = 0
            known = (self._entries["key"][at] == asked).all(axis=1)
            digests[known] = self._entries["sha256"][at[known]]
        return digests, known

    def add(self, key: Key, digest: bytes) -> None:
        """Note the SHA-256 of a file."""
        with self._adding:
            self._new[key] = digest

    def save(self) -> None:
        """Keep what was added; OSError if it cannot be written."""
        with self._adding:
            new, self._new = self._new, {}
        if not new:
            return
        entries = np.empty(len(new), ENTRY)
        entries["key"] = np.frombuffer(b"".join(new), "<u8").reshape(-1, 2)
        entries["sha256"] = np.frombuffer(b"".join(new.values()), np.uint8).reshape(-1, 32)
        before = _files(self.folder)
        if len(before) < MANY_FILES:
            _write(self.folder, entries)
            return
        _write(self.folder, _without_repeats(np.concatenate([entries, *map(_read, before)])))
        for path in [*before, *_left_behind(self.folder)]:
            with suppress(OSError):
                path.unlink()


def _left_behind(folder: Path) -> list[Path]:
    """Return what processes that were killed have half written."""
    last = time.time() - AN_HOUR
    with os.scandir(folder) as entries:
        return [
            Path(entry.path)
            for entry in entries
            if entry.name.startswith(".") and entry.stat(follow_symlinks=False).st_mtime < last
        ]


def _files(folder: Path) -> list[Path]:
    """Return the files of entries, the newest first."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(NAME)]
    except OSError:
        return []
    return [folder / name for name in sorted(names, reverse=True)]


def _newest_first(folder: Path) -> NDArray[Any]:
    return np.concatenate([np.empty(0, ENTRY), *map(_read, _files(folder))])


def _read(path: Path) -> NDArray[Any]:
    """Return the entries of a file; none of one that is damaged, or has been merged."""
    try:
        content = path.read_bytes()
    except OSError:
        return np.empty(0, ENTRY)
    if len(content) >= HEADER.size:
        magic, count, checksum = HEADER.unpack_from(content)
        entries = memoryview(content)[HEADER.size :]
        whole = magic == MAGIC and len(entries) == count * ENTRY.itemsize
        if whole and zlib.crc32(entries) == checksum:
            return np.frombuffer(entries, ENTRY)
    with suppress(OSError):
        path.unlink()
    return np.empty(0, ENTRY)


def _without_repeats(entries: NDArray[Any]) -> NDArray[Any]:
    """Keep the first of equal keys, and of all no more than there may be."""
    _, first = np.unique(entries["key"], axis=0, return_index=True)
    return entries[np.sort(first)[:MOST_ENTRIES]]


def _write(folder: Path, entries: NDArray[Any]) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = entries.tobytes()
    name = f"{time.time_ns():016x}-{os.urandom(4).hex()}{NAME}"
    passing = folder / f".{name}.part"
    try:
        with passing.open("xb") as file:
            file.write(HEADER.pack(MAGIC, len(entries), zlib.crc32(content)))
            file.write(content)
        os.rename(passing, folder / name)
    except BaseException:
        with suppress(OSError):
            passing.unlink()
        raise
