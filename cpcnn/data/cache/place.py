"""Where decoded images are kept, and how much of the disk they may take."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from ...core.errors import UsageError

FOLDER_VARIABLE = "CPCNN_IMAGE_CACHE"
SIZE_VARIABLE = "CPCNN_CACHE_SIZE"
DEFAULT_LIMIT = 20 << 30
LEFT_FREE = 1 << 30  # bytes of the disk that the cache never takes
UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)


def cache_folder() -> Path | None:
    """Return the folder of decoded images on this system; None where that has no place.

    It is CPCNN_IMAGE_CACHE, or else `cpcnn/images` in XDG_CACHE_HOME or the user's `.cache`.
    """
    if own := os.environ.get(FOLDER_VARIABLE):
        return Path(own).absolute()
    user = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return Path(user if os.path.isabs(user) else Path.home() / ".cache", "cpcnn", "images")
    except RuntimeError:  # no home
        return None


def cache_limit() -> int:
    """Return the bytes that the cache may take: CPCNN_CACHE_SIZE, such as `50G`, or 20 GiB.

    Raises UsageError for what is no size.
    """
    text = os.environ.get(SIZE_VARIABLE, "")
    if not text.strip():
        return DEFAULT_LIMIT
    size = SIZE.fullmatch(text)
    if size is None:
        raise UsageError(
            f"{SIZE_VARIABLE} is {text!r}; it must be a size, such as 500M or 20G.",
            suggestion="Correct or unset it. `--cache memory` keeps nothing on the disk.",
        )
    return int(float(size[1]) * (1 << UNITS[size[2].upper()]))


def free_space(folder: Path) -> int:
    """Return the bytes that a folder's disk has left for the cache; 0 if nobody can tell."""
    with suppress(OSError):
        return max(0, shutil.disk_usage(folder).free - LEFT_FREE)
    return 0
