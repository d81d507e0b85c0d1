"""Loss and accuracy of a pass over the data, summed on the device and read when asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.context import Context
from ..core.typing import Array
from ..devices import Device


class Tally:
    """Running sums; `loss` and `accuracy` are the means as of the last `read`."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.loss = float("nan")
        self.accuracy = float("nan")
        self._sums: Any = None
        self._count = 0

    def add(self, ctx: Context, losses: Array, logits: Array, labels: Array) -> None:
        """Add a batch: losses (N,), logits (N, K), labels (N,)."""
        xp = ctx.xp
        hits = xp.argmax(logits, axis=-1) == xp.astype(labels, xp.int64)
        sums = xp.stack(
            [
                xp.sum(xp.astype(losses, xp.float64)),
                xp.sum(xp.astype(hits, xp.float64)),
            ]
        )
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += losses.shape[0]

    def read(self) -> None:
        """Bring the sums to the host."""
        loss, hits = np.asarray(self.device.get(self._sums)).tolist()
        self.loss = loss / self._count
        self.accuracy = hits / self._count
