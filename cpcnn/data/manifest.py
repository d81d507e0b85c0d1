"""The content of files as SHA-256: what a run records of its images, to know them again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal; empty if it cannot be read."""
    # Images are mostly small, and were decoded in memory: one read costs half of reading in parts.
    with suppress(OSError):
        return hashlib.sha256(path.read_bytes()).hexdigest()
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
