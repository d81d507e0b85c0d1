"""The content of files as SHA-256: what a run records of its images, to know them again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

LARGE = 16 << 20  # bytes that are not read at once


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal; empty if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        # Images are mostly small: one read costs half of reading in parts.
        if os.fstat(file.fileno()).st_size > LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(file.read()).hexdigest()
    return ""


def sha256_of_all(paths: Sequence[Path], *, workers: int = 2) -> list[str]:
    """Return the SHA-256 of each file, read in `workers` threads."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-hash")
    try:
        return list(pool.map(sha256_of, paths))
    finally:
        # After Ctrl-C only the few files in progress are waited for.
        pool.shutdown(wait=True, cancel_futures=True)
