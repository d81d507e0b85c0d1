"""Arrays between guard bands: whoever writes beside them is found out, who reads there gets NaN.

Under AddressSanitizer arrays have no bands but end with their memory, which it watches itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .build import default_sanitizer

BAND = 256  # bytes before and behind
POISON = 0xFF  # of bands, and of what was never written: NaN in every float type
ALIGNMENT = 256  # as a GPU's allocator gives it


class Buffer(np.ndarray):
    """The bytes around a guarded array: band, array, band. The array's `base`, as it owns them."""

    begin: int
    end: int


def guarded(shape: int | tuple[int, ...], dtype: Any, *, shift: int = 0) -> NDArray[Any]:
    """Return a poisoned array between guard bands, `shift` elements beyond its alignment."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    size, offset = count * dtype.itemsize, shift * dtype.itemsize
    if default_sanitizer() == "address":
        memory = np.full(offset + size, POISON, np.uint8)
        return np.ndarray(shape, dtype, memory, offset)
    buffer = Buffer(BAND + ALIGNMENT + offset + size + BAND, np.uint8)
    buffer.fill(POISON)
    buffer.begin = BAND + -(buffer.ctypes.data + BAND) % ALIGNMENT + offset
    buffer.end = buffer.begin + size
    return np.ndarray(shape, dtype, buffer, buffer.begin)


def check_guards(array: NDArray[Any]) -> str | None:
    """Return what was written into the bands of a guarded array, or None."""
    buffer: Any = array
    while buffer is not None and not hasattr(buffer, "begin"):
        buffer = getattr(buffer, "base", None)
    if buffer is None:
        return None
    for name, band in (("before", buffer[: buffer.begin]), ("behind", buffer[buffer.end :])):
        if not (band == POISON).all():
            changed = np.flatnonzero(band != POISON)
            distance = buffer.begin - changed[-1] if name == "before" else changed[0] + 1
            return f"{changed.size} bytes {name} it, the nearest {distance} bytes away"
    return None


@dataclass
class Guards:
    """The guarded arrays of a test; inputs must keep their content."""

    shift: int = 0
    inputs: list[tuple[NDArray[Any], bytes]] = field(default_factory=list)
    arrays: list[NDArray[Any]] = field(default_factory=list)

    def input(self, host: NDArray[Any]) -> NDArray[Any]:
        """Return a guarded copy that no kernel may change."""
        array = self.inout(host)
        self.inputs.append((array, array.tobytes()))
        return array

    def inout(self, host: NDArray[Any]) -> NDArray[Any]:
        """Return a guarded copy that kernels may change."""
        array = self.output(host.shape, host.dtype)
        array[...] = host
        return array

    def output(self, shape: int | tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """Return a guarded array full of NaN."""
        array = guarded(shape, dtype, shift=self.shift)
        self.arrays.append(array)
        return array

    def check(self) -> None:
        """AssertionError when a band or an input was changed."""
        for number, array in enumerate(self.arrays):
            damage = check_guards(array)
            assert damage is None, f"array {number} {array.shape}: {damage}"
        for array, before in self.inputs:
            assert array.tobytes() == before, f"an input {array.shape} was changed"


@contextmanager
def guards(shift: int = 0) -> Iterator[Guards]:
    """Make guarded arrays for a test and check them at its end.

    `shift` moves each by some elements from its alignment.
    """
    made = Guards(shift)
    yield made
    made.check()
