"""The two sides of the benchmark: one training step and one inference, from the same bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from cases import Case
from numpy.typing import NDArray
from torch_twins import make_twin, pairs

from cpcnn.core.random import Philox
from cpcnn.data import Batch, Preprocessing
from cpcnn.devices import Device
from cpcnn.losses import SparseCategoricalCrossentropy
from cpcnn.networks import build_network
from cpcnn.optimizers import AdamW
from cpcnn.training import Network, StepEnded, Trainer

CLASSES = 10
LABEL_SMOOTHING = 0.1
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 0.05
ENDLESS = 1 << 40  # steps in the one epoch of a measurement

OUTPUT_TOLERANCE = 1e-4  # of logits, which are of the order of 1, and of the loss
# A ReLU whose input is a rounding error away from zero may open on one side only. Each such pixel
# moves the gradients by some per mille; another stride, order or constant moves them by their size.
GRADIENT_TOLERANCE = 5e-2

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


@dataclass(frozen=True)
class Sameness:
    """Differences between the sides: the largest one of outputs, the loss's, all gradients' norm.

    The last is relative to the norm of the gradients.
    """

    outputs: float
    loss: float
    gradients: float

    @property
    def holds(self) -> bool:
        return (
            self.outputs <= OUTPUT_TOLERANCE
            and self.loss <= OUTPUT_TOLERANCE
            and self.gradients <= GRADIENT_TOLERANCE
        )

    def __str__(self) -> str:
        return (
            f"outputs differ by {self.outputs:.0e}, the loss by {self.loss:.0e}, "
            f"gradients by {self.gradients:.0e}"
        )


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
    """The trainer and the predictor that every user of cpcnn gets, one batch at a time."""

    def __init__(
        self, case: Case, batch: Batch, preprocessing: Preprocessing, device: Device
    ) -> None:
        root = build_network(case.network, case.shape, CLASSES, width=case.width)
        self.network = Network(root)
        self.network.preprocessing = preprocessing.to_config()
        self.network.build(case.shape, seed=0, device=device)
        weights = self.network.store.get_weights()
        # a head that starts at zero would make any two networks agree
        *_, head = (path for path in weights if path.endswith(".kernel"))
        noise = Philox(0, "head").normal(weights[head].shape) * 0.1
        self.network.store.set_weights(weights | {head: noise})
        self.loader = SameBatch(batch)
        trainer = Trainer(
            model=self.network,
            train=self.loader,
            validation=None,
            optimizer=AdamW(learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY),
            # a first step that changes nothing: its loss and gradients are for comparison
            schedule=lambda step: LEARNING_RATE if step else 0.0,
            loss=SparseCategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
            epochs=1,
        )
        self._events = trainer.run()
        next(self._events)  # TrainingStarted
        self._outputs = iter(())

    def logits(self) -> NDArray[np.float32]:
        _, logits = next(self.network.logits_batches(self.loader.epoch(0)))
        return np.array(self.network.device.get(logits))

    def train(self) -> StepEnded:
        """One step of the trainer, up to the event that reports it."""
        event = next(self._events)
        assert isinstance(event, StepEnded)
        return event

    def start_inference(self) -> None:
        self._outputs = self.network.predict_batches(self.loader)

    def infer(self) -> NDArray[np.float32]:
        _, probabilities = next(self._outputs)
        return probabilities


class Theirs:
    """The twin in PyTorch, in one memory layout."""

    def __init__(
        self, case: Case, batch: Batch, preprocessing: Preprocessing, network: Network, layout: str
    ) -> None:
        memory_format = LAYOUTS[layout]
        twin = make_twin(case.network, network, case.width)
        self.twin = twin.to(memory_format=memory_format)
        images = torch.from_numpy(batch.images).permute(0, 3, 1, 2)
        self.images = images.contiguous(memory_format=memory_format)
        self.labels = torch.from_numpy(batch.labels)
        self.mean = torch.tensor(preprocessing.mean).reshape(1, -1, 1, 1)
        self.std = torch.tensor(preprocessing.std).reshape(1, -1, 1, 1)
        kernels = [p for p in twin.parameters() if p.ndim > 1]
        others = [p for p in twin.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": kernels}, {"params": others, "weight_decay": 0.0}],
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            fused=True,  # the fastest of its implementations on a CPU
        )

    def inputs(self) -> torch.Tensor:
        return self.images.to(torch.float32).sub_(self.mean).div_(self.std)

    def loss(self) -> torch.Tensor:
        """The loss in training, with gradients in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.twin(self.inputs())
        loss = torch.nn.functional.cross_entropy(
            logits, self.labels, label_smoothing=LABEL_SMOOTHING
        )
        loss.backward()
        return loss

    def train(self) -> None:
        self.loss()
        self.optimizer.step()

    def start_inference(self) -> None:
        self.twin.eval()

    @torch.inference_mode()
    def infer(self) -> torch.Tensor:
        return torch.softmax(self.twin(self.inputs()), dim=1)

    def logits(self) -> NDArray[np.float32]:
        self.twin.eval()
        with torch.inference_mode():
            logits = self.twin(self.inputs())
        self.twin.train()
        return logits.numpy()


def compare_results(ours: Ours, twins: Iterable[Theirs]) -> Sameness:
    """Compare outputs at inference, and loss and gradients in training, before any step."""
    logits = ours.logits()
    loss = ours.train().loss
    store = ours.network.store
    gradients = store.unflatten(np.array(store.device.get(store.grads)))
    worst = Sameness(0.0, 0.0, 0.0)
    for theirs in twins:
        worst = Sameness(
            max(worst.outputs, float(np.abs(logits - theirs.logits()).max())),
            max(worst.loss, abs(loss - theirs.loss().item())),
            max(worst.gradients, gradient_difference(ours.network, gradients, theirs.twin)),
        )
    return worst


def gradient_difference(
    network: Network, gradients: dict[str, NDArray[np.float32]], twin: torch.nn.Module
) -> float:
    """The norm of the difference of all gradients, relative to the norm of the twin's."""
    difference = norm = 0.0
    for pair in pairs(network, twin):
        if pair.path in gradients:
            assert pair.tensor.grad is not None
            expected = pair.tensor.grad.numpy()
            difference += float(np.square(pair.convert(gradients[pair.path]) - expected).sum())
            norm += float(np.square(expected).sum())
    return (difference / norm) ** 0.5
