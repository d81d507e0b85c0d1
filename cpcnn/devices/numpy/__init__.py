"""The reference ops on NumPy and nothing else: the living definition of every op."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from ..base import Device


class NumpyDevice(Device):
    """Host memory and the reference implementations; slow, readable, trusted."""

    name = "numpy"

    @property
    def description(self) -> str:
        return f"reference implementations on NumPy {np.__version__}"

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Keep NumPy's warnings quiet: a diverging network is reported by the trainer."""
        with np.errstate(all="ignore"):
            yield


def create(index: int | None = None, threads: int | None = None) -> Device:
    """Make the device; it has neither an index nor threads of its own."""
    return NumpyDevice()
