"""Loss, accuracy and metrics of a pass over the data, gathered on the device, read when asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..core.typing import Array
from ..losses import Loss
from ..metrics import Metric
from .network import Network, class_columns

READ_EVERY = 10  # batches between two reads: each read waits for the device


class Tally:
    """Running sums and metrics; `loss` and `accuracy` are the means as of the last `read`.

    `loss` is a bound one: it knows what the outputs mean. The metrics start anew.
    """

    def __init__(self, network: Network, loss: Loss, metrics: Sequence[Metric] = ()) -> None:
        self.loss = float("nan")
        self.accuracy = float("nan")
        self._network = network
        self._activation = loss.absorbs if loss.from_logits else None  # to probabilities
        self._metrics = metrics
        for metric in metrics:
            metric.reset()
        self._sums: Any = None
        self._count = 0
        self._unread: list[tuple[NDArray[np.int64], Array]] = []

    def add(
        self, ctx: Context, losses: Array, outputs: Array, labels: Array, known: NDArray[np.int64]
    ) -> None:
        """Add a batch: losses (N,), outputs (N, K), labels (N,); `known` are these on the host."""
        xp = ctx.xp
        hits = self._predicted(ctx, outputs) == xp.astype(labels, xp.int64)
        sums = xp.stack(
            [
                xp.sum(xp.astype(losses, xp.float64)),
                xp.sum(xp.astype(hits, xp.float64)),
            ]
        )
        self._sums = sums if self._sums is None else self._sums + sums
        self._count += losses.shape[0]
        if self._metrics:
            self._unread.append((known, outputs))

    def _predicted(self, ctx: Context, outputs: Array) -> Array:
        xp = ctx.xp
        if outputs.shape[1] == 1:
            half = 0.0 if self._activation else 0.5
            return xp.astype(outputs[:, 0] > half, xp.int64)
        return xp.astype(xp.argmax(outputs, axis=-1), xp.int64)

    def read(self) -> None:
        """Bring the sums and outputs to the host."""
        device = self._network.device
        loss, hits = np.asarray(device.get(self._sums)).tolist()
        self.loss = loss / self._count
        self.accuracy = hits / self._count
        if self._unread:
            self._feed_metrics()

    def _feed_metrics(self) -> None:
        device = self._network.device
        with device.scope():
            ctx = self._network.context()
            outputs = ctx.xp.concat([outputs for _, outputs in self._unread], axis=0)
            if self._activation:
                outputs = ctx.ops.activation(outputs, self._activation)[0]
            host = np.asarray(device.get(outputs), np.float32)
        labels = np.concatenate([labels for labels, _ in self._unread])
        self._unread = []
        for metric in self._metrics:
            metric.update(labels, class_columns(host))

    def results(self) -> dict[str, Any]:
        """Return the metrics by name, as plain numbers and lists, as of the last `read`."""
        return {metric.name: np.asarray(metric.result()).tolist() for metric in self._metrics}
