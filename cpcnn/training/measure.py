"""How good a network is on a data set: one pass, as at inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from ..losses import Loss
from ..metrics import Metric
from .input_stage import BatchLike
from .network import Network
from .tally import READ_EVERY, Tally


class LoaderLike(Protocol):
    """What training needs of a loader: batches per epoch, and the batches of epoch `epoch`.

    Only to resume within an epoch, `start` must tell with which batch to begin.
    """

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start: int = 0) -> Iterator[BatchLike]: ...


def measure(
    network: Network, loss: Loss, loader: LoaderLike, metrics: Sequence[Metric] = ()
) -> Tally:
    """Return the loss, accuracy and metrics of epoch 0 of a loader that has batches."""
    root, loss = network.training_root(loss)
    tally = Tally(network, loss, metrics)
    batches = network.forward_batches(root, loader.epoch(0))
    for number, (batch, outputs) in enumerate(batches, 1):
        with network.device.scope():
            ctx = network.context()
            labels = network.device.put(np.ascontiguousarray(batch.labels))
            losses, _ = loss(ctx, outputs, labels)
            tally.add(ctx, losses, outputs, labels, batch.labels)
        if number % READ_EVERY == 0 and metrics:
            tally.read()  # or the outputs of the whole data set would pile up
    tally.read()
    return tally
