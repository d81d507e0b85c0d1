"""The content of image files: read once, to be hashed and decoded from the same bytes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from typing import BinaryIO

from .cache import ImageCache, fingerprint, has_settled
from .cache.digests import NO_KEY
from .images.decode import BadImage
from .layouts.image_folder import Sample

TOLD = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")
PIECE = 1 << 20
LARGE = 64 << 20  # bytes that are not kept in memory; such an image is decoded from its file


@dataclass(frozen=True)
class Content:
    """What a file holds: its bytes, unless they are too many, and their SHA-256.

    `key` is the file's fingerprint, if the file did not change meanwhile and cannot change any
    more without that being seen.
    """

    data: bytes | None
    sha256: bytes
    key: bytes | None


def read_content(sample: Sample) -> Content:
    """Read an image file, wherever it lies; BadImage if that fails."""
    try:
        started = time.time_ns()
        # of small files, a buffer would take longer than the reading
        with sample.open() if sample.place else FileIO(sample.text) as file:
            before = _status(sample, file)
            data, digest = _read(file, before.st_size)
            after = _status(sample, file)
    except OSError as error:
        raise BadImage(sample.path, f"it cannot be opened ({error.strerror or error})") from error
    known = _same(before, after) and has_settled(before, started)
    return Content(data, digest, _key(sample, before) if known else None)


def key_of(sample: Sample) -> bytes | None:
    """Return the fingerprint of a file as it is now; None if there is none to be had."""
    try:
        return _key(sample, _status(sample))
    except OSError:
        return None


def _key(sample: Sample, status: os.stat_result) -> bytes:
    place = sample.place
    return fingerprint(sample.text, status, 0 if place is None else place.offset)


def _status(sample: Sample, file: BinaryIO | FileIO | None = None) -> os.stat_result:
    if sample.place is not None:
        return sample.path.stat()
    # of many files, making their paths would take longer than this
    return os.stat(sample.text) if file is None else os.fstat(file.fileno())


def _read(file: BinaryIO | FileIO, size: int) -> tuple[bytes | None, bytes]:
    if size <= LARGE:
        data = file.read()
        return data, hashlib.sha256(data).digest()
    digest = hashlib.sha256()
    while piece := file.read(PIECE):
        digest.update(piece)
    return None, digest.digest()


def _same(before: os.stat_result, after: os.stat_result) -> bool:
    return all(getattr(before, name) == getattr(after, name) for name in TOLD)


def digests_of(
    samples: Sequence[Sample], *, workers: int = 2, cache: ImageCache | None = None
) -> list[str]:
    """Return the SHA-256 of each file in hexadecimal, empty if it cannot be read.

    Files are read in `workers` threads, but for those that the cache knows.
    """
    from concurrent.futures import ThreadPoolExecutor

    found = [""] * len(samples)
    index = None if cache is None else cache.digests
    if index is not None:
        digests, known = index.find([key_of(sample) or NO_KEY for sample in samples])
        found = [
            digest.tobytes().hex() if is_known else ""
            for digest, is_known in zip(digests, known, strict=True)
        ]

    def read(sample: Sample) -> str:
        try:
            content = read_content(sample)
        except BadImage:
            return ""
        if index is not None and content.key is not None:
            index.add(content.key, content.sha256)
        return content.sha256.hex()

    missing = [position for position, digest in enumerate(found) if not digest]
    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-hash")
    try:
        for position, digest in zip(
            missing, pool.map(read, [samples[position] for position in missing]), strict=True
        ):
            found[position] = digest
    finally:
        # After Ctrl-C only the few files in progress are waited for.
        pool.shutdown(wait=True, cancel_futures=True)
        if cache is not None:
            cache.save_digests()
    return found
