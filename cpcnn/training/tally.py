"""Loss, accuracy and metrics of a pass over the data, gathered on the device, read when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

    # --- the state, for an epoch that is interrupted ---------------------------------------

    def get_state(self) -> dict[str, NDArray[Any]]:
        """Read, and return all that was gathered as arrays on the host."""
        self.read()
        state = {
            "sums": np.array(self._network.device.get(self._sums)),
            "count": np.array([self._count], np.int64),
        }
        for metric in self._metrics:
            for name, array in metric.get_state().items():
                state[f"{metric.name}/{name}"] = array
        return state

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Continue from a state that `get_state` returned."""
        device = self._network.device
        with device.scope():
            self._sums = device.put(state["sums"])
        (self._count,) = state["count"].tolist()
        for metric in self._metrics:
            metric.set_state(with_prefix(state, metric.name))
        self.read()

    def results(self) -> dict[str, Any]:
        """Return the metrics by name, as plain numbers and lists, as of the last `read`."""
        return {metric.name: np.asarray(metric.result()).tolist() for metric in self._metrics}


def with_prefix(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names start with `prefix/`, by the rest of the name."""
    start = f"{prefix}/"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}
