"""The images of one preprocessing on the disk, found by the content of their files.

A store is a folder of segments. The key of an image is the SHA-256 of its file's bytes; all else
that decides what it looks like is the same for the whole store: size, channels, resize mode,
interpolation, the scale that JPEGs are decoded at, and the versions of what decodes them. So files
may be renamed, moved or copied, and every data set finds what any other has decoded.

Segments rather than a database: each is written by one process and never changes, so any number of
processes write at once without waiting, the images lie side by side to be mapped, and being killed
costs no more than the segment that was begun. What was written twice at the same time is read from
the older segment; the other is not used, and is the first to be removed.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .room import make_room
from .segment import NAME, Segment, SegmentWriter, Shape, table_type

SEGMENT_BYTES = 64 << 20  # what a process that is killed can lose


class ImageStore:
    """Images (H, W, C) of one preprocessing: found, read and added by threads.

    `identity` is what their preprocessing is called in the files. What is added is found after the
    next `flush`. Nothing here fails: `problem` says why images are not kept any more, if so.
    """

    def __init__(self, cache: Path, name: str, identity: bytes, shape: Shape, limit: int) -> None:
        self.cache = cache
        self.folder = cache / name
        self.identity = identity
        self.shape = shape
        self.limit = limit
        self.problem = ""
        self._writer: SegmentWriter | None = None
        self._writing = threading.Lock()
        self._segments: list[Segment] = []
        self._held: set[int] = set()
        for path in _segment_files(self.folder):
            if segment := Segment.open(path, identity, shape):
                self._segments.append(segment)
        self._index()

    @property
    def damaged(self) -> bool:
        """Whether an image was not what had been written, and its segment was removed."""
        return any(segment.damaged for segment in self._segments)

    def find(self, digests: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the place of each image by the SHA-256 (N, 32) of its file; -1 where it is not."""
        places = np.full(len(digests), -1, np.int64)
        if len(self._keys):
            at = np.searchsorted(self._keys, _first_bytes(digests))
            at[at == len(self._keys)] = 0
            found = self._order[at]
            same = (self._digests[found] == digests).all(axis=1)
            places[same] = found[same]
        return places

    def may_have(self, digest: bytes) -> bool:
        """Say whether `find` may find an image; quick, for a single one."""
        key = np.frombuffer(digest, "<u8", 1)[0]
        at = self._keys.searchsorted(key)
        return bool(at < len(self._keys) and self._keys[at] == key)

    def read(self, place: int, out: NDArray[np.uint8]) -> bool:
        """Copy an image to `out` (H, W, C), contiguous; False if it is gone or damaged."""
        segment, row = self._segment_at(place)
        return segment.read(row, out)

    def read_many(self, places: NDArray[np.int64], out: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Copy images to `out` (n, H, W, C), contiguous; say of each whether it is right (n,)."""
        right = np.empty(len(places), bool)
        for segment, rows, which in self._by_segment(places):
            if len(rows) == len(places):
                return segment.read_many(rows, out)
            block = np.empty((len(rows), *self.shape), np.uint8)
            right[which] = segment.read_many(rows, block)
            out[which] = block
        return right

    def rows(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of the table of images, with the sums of their values and squares."""
        table = np.empty(len(places), table_type(self.shape[2]))
        for segment, rows, which in self._by_segment(places):
            table[which] = segment.table[rows]
        return table

    def add(self, images: NDArray[np.uint8], table: NDArray[Any]) -> None:
        """Add images (n, H, W, C), contiguous, with their rows of `table_type` but the CRCs."""
        table["crc"] = [zlib.crc32(image) for image in images]
        full = None
        with self._writing:
            if self.problem or not len(images):
                return
            try:
                if self._writer is None:
                    self._writer = self._begin(images.nbytes)
                if self._writer is None:
                    return
                self._writer.add(images, table)
            except OSError as error:
                self._give_up(error)
                return
            if self._writer.size >= SEGMENT_BYTES:
                full, self._writer = self._writer, None
        if full is not None:  # other threads go on writing the next one
            self._publish(full)

    def flush(self) -> None:
        """Complete what was added, so that it is found by this process and by others."""
        with self._writing:
            writer, self._writer = self._writer, None
        if writer is not None:
            self._publish(writer)
        self._index()

    def hold(self, places: NDArray[np.int64]) -> None:
        """Keep what is at these places from being removed as long as this store exists."""
        used = places[places >= 0]
        self._held.update((np.searchsorted(self._starts, used, side="right") - 1).tolist())
        for number in self._held:
            self._segments[number].map()

    def release(self) -> None:
        """Let other processes remove what is not held."""
        for number, segment in enumerate(self._segments):
            if number not in self._held:
                segment.release()

    # ---- Writing -----------------------------------------------------------------------------

    def _begin(self, least: int) -> SegmentWriter | None:
        needed = max(SEGMENT_BYTES, least)
        self.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        if make_room(self.cache, needed, self.limit):
            return SegmentWriter(self.folder, self.identity, self.shape)
        self.problem = (
            f"The image cache {self.cache} is full ({self.limit / (1 << 30):.3g} GiB, or its "
            "disk): the other images are decoded again when they are needed."
        )
        return None

    def _publish(self, writer: SegmentWriter) -> None:
        try:
            segment = writer.publish()
        except OSError as error:
            with self._writing:
                self._writer = self._writer or writer
                self._give_up(error)
            writer.discard()
            return
        with self._writing:
            self._segments.append(segment)

    def _give_up(self, error: OSError) -> None:
        reason = error.strerror or str(error)
        self.problem = (
            f"The image cache {self.cache} cannot be written ({reason}): "
            "the next run decodes the images again."
        )
        if self._writer is not None:
            self._writer.discard()
        self._writer = None

    # ---- Finding -----------------------------------------------------------------------------

    def _index(self) -> None:
        with self._writing:
            tables = [segment.table for segment in self._segments]
        sizes = [len(table) for table in tables]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        empty = np.empty(0, table_type(self.shape[2]))
        self._digests = np.concatenate([empty["sha256"], *(table["sha256"] for table in tables)])
        keys = _first_bytes(self._digests)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def _by_segment(
        self, places: NDArray[np.int64]
    ) -> Iterator[tuple[Segment, NDArray[np.int64], NDArray[np.bool_]]]:
        """Yield each segment that has any of the places, with their rows, and which they are."""
        numbers = np.searchsorted(self._starts, places, side="right") - 1
        for number in np.unique(numbers).tolist():
            which = numbers == number
            yield self._segments[number], places[which] - self._starts[number], which

    def _segment_at(self, place: int) -> tuple[Segment, int]:
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        return self._segments[number], place - int(self._starts[number])


def _segment_files(folder: Path) -> list[Path]:
    """Return the files of a store, the oldest first."""
    try:
        names = [name for name in os.listdir(folder) if name.endswith(NAME)]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]


def _first_bytes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the first eight bytes of SHA-256 (N, 32) as numbers (N,)."""
    first = np.ascontiguousarray(digests[:, :8]).view("<u8")
    return first[:, 0]
