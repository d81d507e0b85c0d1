"""Arrays of more elements than 32 bits count, of which only the touched pages take memory."""

from __future__ import annotations

import math
import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Python before 3.13 knows no name for it


def sparse(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Return zeros; whoever writes to all of them runs out of memory."""
    dtype = np.dtype(dtype)
    size = max(1, math.prod(shape)) * dtype.itemsize
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    return np.ndarray(shape, dtype, mmap.mmap(-1, size, flags))
