"""Paths of images that lie in a tar file: read where they lie, nothing is unpacked."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path, PosixPath
from typing import IO, Any, BinaryIO, NamedTuple


class Place(NamedTuple):
    """Where in which file the bytes of an image lie."""

    shard: str
    offset: int
    size: int


class ShardPath(PosixPath):
    """The path of a member of a tar file, such as `data/train-000.tar/0001.jpg`.

    It is printed, compared and taken apart like any path. `open`, `read_bytes` and `stat` read the
    member; the time of `stat` is that of the tar file. Other paths made from it have no place.
    """

    place: Place

    @classmethod
    def at(cls, path: str, place: Place) -> ShardPath:
        """Return the path of what lies at a place."""
        made = cls(path)
        made.place = place
        return made

    def open(self, mode: str = "r", *_: Any, **__: Any) -> IO[Any]:  # type: ignore[override]
        """Open the member, only to read bytes ("rb")."""
        if mode != "rb":
            raise ValueError(f"{self} lies in a tar file and can only be opened to read bytes.")
        return open_place(self.place)

    def read_bytes(self) -> bytes:
        """Return the member's bytes."""
        with open_place(self.place) as file:
            return file.read()

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the status of the tar file, with the size of the member."""
        status = os.stat(self.place.shard)
        numbers = [*status]
        numbers[stat.ST_SIZE] = self.place.size
        exact = {name: getattr(status, name) for name in dir(status) if name.startswith("st_")}
        return os.stat_result(numbers, exact)

    def is_file(self) -> bool:
        """Say whether there is such a file, as there was when its tar file was listed."""
        return os.path.isfile(self.place.shard)

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Say the same."""
        return self.is_file()

    def __reduce__(self) -> tuple[Any, ...]:
        return ShardPath.at, (str(self), self.place)


def open_place(place: Place) -> BinaryIO:
    """Open part of a file to read it; OSError if there is less of it than the place says."""
    return io.BufferedReader(_Part(place))


class _Part(io.RawIOBase):
    """Part of a file as a file; nothing is read that is not asked for, however long it may be."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self._file = os.open(place.shard, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._place = place
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._place.size}[whence]
        if start + offset < 0:
            raise ValueError(f"negative seek position {start + offset}")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), max(self._place.size - self._at, 0))
        if not wanted:
            return 0
        count = os.preadv(self._file, [memoryview(buffer)[:wanted]], self._place.offset + self._at)
        if not count:
            raise OSError(f"the tar file {Path(self._place.shard).name} has become shorter")
        self._at += count
        return count

    def close(self) -> None:
        if not self.closed:
            os.close(self._file)
        super().close()
