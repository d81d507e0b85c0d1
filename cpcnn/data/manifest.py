"""The content of files as SHA-256: what a run records of its images, to know them again."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

LARGE = 16 << 20  # bytes that are not read at once


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal; empty if it cannot be read."""
    with suppress(OSError), path.open("rb") as file:
        # Images are mostly small: one read costs half of reading in parts.
        if path.stat().st_size > LARGE:
            return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(file.read()).hexdigest()
    return ""
