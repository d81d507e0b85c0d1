"""A segment: one file of decoded images of one shape, whole and unchanging once it has its name.

A segment is a page with magic number, counts, a checksum and the identity of its images (JSON);
then the images, uint8 (count, H, W, C); then a table with the SHA-256 of the file that each image
came from, the image's own CRC-32, and its sums, from which mean and deviation follow. It is written
under a passing name and renamed when it is complete: a process that is killed leaves no segment at
all. What happens to a file later shows in its length, in the checksum of page and table, or in that
of an image, which is compared the first time that the image is read.
"""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .locks import lock_alone, lock_shared

MAGIC = b"cpcnn images 1\n\0"
PAGE = 4096
HEADER = struct.Struct("<16sQII")  # magic, images, length of the identity, checksum of the rest
NAME, PASSING = ".images", ".part"
ATTEMPTS = 3

Shape = tuple[int, int, int]


def table_type(channels: int) -> np.dtype[Any]:
    """Return the type of a table's rows; `first` and `second` sum values and squares."""
    sums = ("<u8", (channels,))
    return np.dtype(
        [("sha256", "u1", 32), ("crc", "<u4"), ("first", *sums), ("second", *sums)], align=False
    )


class Segment:
    """A segment to read, in threads; it is mapped and locked when its first image is asked for."""

    def __init__(self, path: Path, shape: Shape, table: NDArray[Any]) -> None:
        self.path = path
        self.shape = shape
        self.table = table
        self.damaged = False
        self._crcs = np.ascontiguousarray(table["crc"])
        self._checked = np.zeros(len(table), bool)
        self._records: NDArray[np.uint8] | None = None
        self._gone = False
        self._mapping = threading.Lock()

    @classmethod
    def open(cls, path: Path, identity: bytes, shape: Shape) -> Segment | None:
        """Read a segment's table; None if the file is gone, damaged, or of other images."""
        try:
            with path.open("rb") as file:
                table = _read_table(file, identity, shape)
        except OSError:
            return None
        return None if table is None else cls(path, shape, table)

    def __len__(self) -> int:
        return len(self.table)

    def read(self, row: int, out: NDArray[np.uint8]) -> bool:
        """Copy an image to `out` (H, W, C), contiguous; False if it is gone or damaged."""
        records = self.map()
        if records is None:
            return False
        out[...] = records[row]
        if not self._checked[row]:
            if zlib.crc32(out.data) != self._crcs[row]:
                self._remove()
                return False
            self._checked[row] = True
        return True

    def read_many(self, rows: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Copy images to `out` (n, H, W, C), contiguous; say of each whether it is right (n,)."""
        records = self.map()
        if records is None:
            return np.zeros(len(rows), bool)
        first, count = int(rows[0]), len(rows)
        if rows[-1] - first == count - 1 and (np.diff(rows) == 1).all():
            out[...] = records[first : first + count]  # as they were written: one piece
        else:
            records.take(rows, axis=0, out=out)
        right = np.fromiter(map(zlib.crc32, out), np.uint32, count) == self._crcs[rows]
        self._checked[rows] = right
        if not right.all():
            self._remove()
        return right

    def map(self) -> NDArray[np.uint8] | None:
        """Return all images (count, H, W, C), read-only, unchecked; None if the file is gone."""
        if self._records is None and not self._gone:
            with self._mapping:
                if self._records is None and not self._gone:
                    self._records = self._map()
                    self._gone = self._records is None
        return self._records

    def release(self) -> None:
        """Give up map and lock, as soon as no array of `map` is left; they can be had again."""
        with self._mapping:
            self._records = None

    def _map(self) -> NDArray[np.uint8] | None:
        try:
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        try:
            status = os.fstat(handle)
            if (
                not lock_shared(handle)
                or os.fstat(handle).st_nlink == 0
                or status.st_size != _file_size(len(self), self.shape)
            ):
                return None
            # The map has a handle of its own, which keeps the lock.
            content = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        finally:
            os.close(handle)
        with suppress(OSError):
            os.utime(self.path)  # it is in use: others are removed before it
        size = len(self) * int(np.prod(self.shape))
        return np.frombuffer(content, np.uint8, size, PAGE).reshape(len(self), *self.shape)

    def _remove(self) -> None:
        """Remove a damaged file, so that its images are decoded anew; its others stay readable."""
        self.damaged = True
        with suppress(OSError):
            self.path.unlink()


def _file_size(count: int, shape: Shape) -> int:
    return PAGE + count * (int(np.prod(shape)) + table_type(shape[2]).itemsize)


def _read_table(file: BinaryIO, identity: bytes, shape: Shape) -> NDArray[Any] | None:
    page = file.read(PAGE)
    if len(page) != PAGE:
        return None
    magic, count, length, checksum = HEADER.unpack_from(page)
    start = HEADER.size
    if magic != MAGIC or page[start : start + length] != identity:
        return None
    size = os.fstat(file.fileno()).st_size
    # compared before anything is allocated: the count may be any number
    if count < 1 or size != _file_size(count, shape):
        return None
    file.seek(PAGE + count * int(np.prod(shape)))
    content = file.read()
    if _checksum(count, identity, content) != checksum:
        return None
    dtype = table_type(shape[2])
    return np.frombuffer(content, dtype) if len(content) == count * dtype.itemsize else None


def _checksum(count: int, identity: bytes, table: bytes) -> int:
    return zlib.crc32(table, zlib.crc32(identity, zlib.crc32(struct.pack("<Q", count))))


class SegmentWriter:
    """Writes one segment; OSError from any method means that there will be none: `discard` it."""

    def __init__(self, folder: Path, identity: bytes, shape: Shape) -> None:
        self.folder = folder
        self.identity = identity
        self.shape = shape
        self.size = PAGE
        self._tables: list[NDArray[Any]] = []
        self._path, self._file = _passing_file(folder)
        self._file.write(bytes(PAGE))

    def add(self, images: NDArray[np.uint8], table: NDArray[Any]) -> None:
        """Append images (n, H, W, C), contiguous, with their rows of the table."""
        self._file.write(images.data)
        self._tables.append(table)
        self.size += images.nbytes + table.nbytes

    def publish(self) -> Segment:
        """Give the file its name; the segment is in use, so that nobody removes it."""
        table = np.concatenate(self._tables)
        content = table.tobytes()
        self._file.write(content)
        checksum = _checksum(len(table), self.identity, content)
        self._file.seek(0)
        self._file.write(HEADER.pack(MAGIC, len(table), len(self.identity), checksum))
        self._file.write(self.identity)
        self._file.flush()
        lock_shared(self._file.fileno())
        # Names sort by age: of two segments with the same image all processes take the older one.
        name = f"{time.time_ns():016x}-{os.urandom(4).hex()}{NAME}"
        os.rename(self._path, self.folder / name)
        segment = Segment(self.folder / name, self.shape, table)
        segment.map()
        self._file.close()
        return segment

    def discard(self) -> None:
        """Remove what has been written."""
        with suppress(OSError):
            self._path.unlink()
        with suppress(OSError):
            self._file.close()


def _passing_file(folder: Path) -> tuple[Path, BinaryIO]:
    """Make a file that is locked: one that is not was left by a process that has ended."""
    for _ in range(ATTEMPTS):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = folder / f".{os.urandom(8).hex()}{PASSING}"
        try:
            file = path.open("xb")
        except FileNotFoundError:  # another process removed the folder, which was empty
            continue
        lock_alone(file.fileno())
        if os.fstat(file.fileno()).st_nlink:
            return path, file
        file.close()
    raise FileNotFoundError(f"{folder} is removed again and again")
