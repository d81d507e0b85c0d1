"""Our side of the benchmark: the batch that both sides get, and what every user of cpcnn runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from cases import Case
from numpy.typing import NDArray

from cpcnn.core.random import Philox
from cpcnn.data import Batch, Preprocessing
from cpcnn.devices import Device
from cpcnn.losses import SparseCategoricalCrossentropy
from cpcnn.models import Model
from cpcnn.networks import build_network
from cpcnn.optimizers import AdamW
from cpcnn.training import StepEnded, Trainer

CLASSES = 10
LABEL_SMOOTHING = 0.1
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
ENDLESS = 1 << 40  # steps in the one epoch of a measurement, or epochs


def make_batch(case: Case) -> tuple[Batch, Preprocessing]:
    """Draw uint8 images and labels, and the normalisation that suits them."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (case.batch_size, *case.shape), np.uint8)
    labels = rng.integers(0, CLASSES, case.batch_size)
    mean = tuple(images.mean(axis=(0, 1, 2)).tolist())
    std = tuple(images.std(axis=(0, 1, 2)).tolist())
    batch = Batch(images, labels, np.arange(case.batch_size))
    return batch, Preprocessing(case.size, case.size, case.channels, mean=mean, std=std)


@dataclass(frozen=True)
class SameBatch:
    """A loader that yields one batch again and again, so that reading images costs nothing."""

    batch: Batch

    def __len__(self) -> int:
        return ENDLESS

    def epoch(self, epoch: int) -> Iterator[Batch]:
        while True:
            yield self.batch


class Ours:
    """The trainer and the predictor that every user of cpcnn gets, one batch at a time.

    Batches are `batch` again and again, or what `loader` yields.
    """

    def __init__(
        self,
        case: Case,
        batch: Batch,
        preprocessing: Preprocessing,
        device: Device,
        loader: Any = None,
    ) -> None:
        root = build_network(case.network, case.shape, CLASSES, width=case.width)
        self.network = Model.from_layer(root, case.shape)
        self.network.preprocessing = preprocessing.to_config()
        self.network.build(case.shape, seed=0, device=device)
        weights = self.network.store.get_weights()
        # a head that starts at zero would make any two networks agree
        *_, head = (path for path in weights if path.endswith(".kernel"))
        noise = Philox(0, "head").normal(weights[head].shape) * 0.1
        self.network.store.set_weights(weights | {head: noise})
        self.images = batch.images
        self.loader = loader or SameBatch(batch)
        trainer = Trainer(
            model=self.network,
            train=self.loader,
            validation=None,
            optimizer=AdamW(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
            # a first step that changes nothing: its loss and gradients are for comparison
            schedule=lambda step: LEARNING_RATE if step else 0.0,
            loss=SparseCategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
            epochs=ENDLESS,
        )
        self._events = trainer.run()
        self._outputs = iter(())

    def logits(self) -> NDArray[np.float32]:
        root, _ = self.network.training_root(SparseCategoricalCrossentropy())
        _, logits = next(self.network.forward_batches(root, self.loader.epoch(0)))
        return np.array(self.network.device.get(logits))

    def train(self) -> StepEnded:
        """One step of the trainer, up to the event that reports it."""
        return next(event for event in self._events if isinstance(event, StepEnded))

    def start_inference(self) -> None:
        self._outputs = self.network.predict_batches(self.loader)

    def infer(self) -> NDArray[np.float32]:
        _, probabilities = next(self._outputs)
        return probabilities

    def predict(self) -> NDArray[np.float32]:
        """The verb, from an array to probabilities; `infer` goes on with a loader's next batch."""
        return self.network.predict(self.images)
