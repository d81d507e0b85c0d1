"""One training step: forward, loss, backward, and the update when it is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.random import Philox
from ..losses import Loss
from ..optimizers import Optimizer
from .input_stage import BatchLike
from .mixed_labels import labels_to_learn
from .network import Network
from .tally import Tally


class TrainingStep:
    """Trains `network` a batch at a time; nothing in it waits for the device.

    With `optimizer.gradient_accumulation_steps` the gradients of so many batches are summed, and
    the update is made with their mean: at the last of them, or with fewer when told so.
    """

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer, seed: int) -> None:
        self.network = network
        self.optimizer = optimizer
        self.seed = seed
        network.apply_freezing()
        self.root, self.loss = network.training_root(loss)
        self._group = optimizer.gradient_accumulation_steps or 1
        self._summed = 0  # batches whose gradients are in the buffer

    def get_gradients(self) -> dict[str, NDArray[Any]]:
        """Copy to the host the sum of gradients that waits for its update; empty if none does."""
        store = self.network.store
        return store.unflatten(store.device.get(store.grads)) if self._summed else {}

    @property
    def waiting(self) -> int:
        """The number of batches whose gradients wait for their update."""
        return self._summed

    def set_gradients(self, gradients: Mapping[str, NDArray[Any]], waiting: int) -> None:
        """Continue from gradients that `get_gradients` returned, of so many batches."""
        if waiting >= self._group:
            raise ValueError(f"{waiting} batches wait for an update that {self._group} make")
        store = self.network.store
        self._summed = waiting
        if waiting:
            with store.device.scope():
                store.grads[...] = store.device.put(store.flatten(gradients))

    def __call__(
        self, batch: BatchLike, learning_rate: float, tally: Tally, *, update: bool = False
    ) -> None:
        """Learn from a batch; `update` says that none will follow to wait for."""
        network, optimizer = self.network, self.optimizer
        with network.device.scope():
            if not self._summed:
                network.store.zero_grad()
            # a number for every batch, that of the update where each batch has one
            number = optimizer.step * self._group + self._summed
            rng = Philox(self.seed, "dropout", number)
            ctx = network.context(training=True, grad=True, rng=rng)
            loss, known = labels_to_learn(self.loss, ctx, batch)
            labels = network.device.put(np.ascontiguousarray(known))
            outputs, saved = self.root.forward(network.to_input(ctx, batch), ctx)
            losses, kept = loss(ctx, outputs, labels)
            tally.add(ctx, losses, outputs, labels, known)
            share = ctx.xp.full(losses.shape, 1 / losses.shape[0], dtype=losses.dtype)
            self.root.backward(loss.backward(ctx.interior, share, kept), saved, ctx)
            self._summed += 1
            if update or self._summed == self._group:
                optimizer.update(ctx, network.store, learning_rate, self._summed)
                self._summed = 0
