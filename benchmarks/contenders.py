"""The two sides of the benchmark: one training step and one inference, from the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

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
class Variant:
    """How PyTorch runs the twin: in which layout, with bfloat16 where AMP allows it, compiled."""

    layout: str = "channels_last"
    amp: bool = False
    compiled: bool = False


CPU_VARIANTS = {layout: Variant(layout) for layout in LAYOUTS}
EAGER_VARIANTS = {"float32": Variant(), "AMP": Variant(amp=True)}
COMPILED_VARIANTS = {
    "compiled float32": Variant(compiled=True),
    "compiled AMP": Variant(amp=True, compiled=True),
}


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
        root, _ = self.network.training_root(SparseCategoricalCrossentropy())
        _, logits = next(self.network.forward_batches(root, self.loader.epoch(0)))
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
    """The twin in PyTorch, in one variant; `place` is PyTorch's name of the device."""

    def __init__(
        self,
        case: Case,
        batch: Batch,
        preprocessing: Preprocessing,
        network: Network,
        variant: Variant,
        place: str = "cpu",
    ) -> None:
        self.variant = variant
        self.place = torch.device(place)
        memory_format = LAYOUTS[variant.layout]
        twin = make_twin(case.network, network, case.width)
        self.twin = twin.to(self.place, memory_format=memory_format)
        images, self.labels = (self._on_host(array) for array in (batch.images, batch.labels))
        self.images = images.permute(0, 3, 1, 2).contiguous(memory_format=memory_format)
        mean, std = preprocessing.mean, preprocessing.std
        self.mean = torch.tensor(mean, device=self.place).reshape(1, -1, 1, 1)
        self.std = torch.tensor(std, device=self.place).reshape(1, -1, 1, 1)
        kernels = [p for p in twin.parameters() if p.ndim > 1]
        others = [p for p in twin.parameters() if p.ndim == 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": kernels}, {"params": others, "weight_decay": 0.0}],
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            fused=True,  # the fastest of its implementations
        )
        self._batch_loss = self._prepared(self._loss_of)
        self._batch_probabilities = self._prepared(self._probabilities_of)

    def _on_host(self, array: NDArray[Any]) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        # as a DataLoader with pin_memory hands it over: the copy then does not hold up the host
        return tensor if self.place.type == "cpu" else tensor.pin_memory()

    def _prepared(self, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        return torch.compile(function, dynamic=False) if self.variant.compiled else function

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.place.type, torch.bfloat16, enabled=self.variant.amp)

    def _logits_of(self, images: torch.Tensor) -> torch.Tensor:
        return self.twin(images.to(torch.float32).sub_(self.mean).div_(self.std))

    def _loss_of(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(
            self._logits_of(images), labels, label_smoothing=LABEL_SMOOTHING
        )

    def _probabilities_of(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self._logits_of(images), dim=1)

    def _sent(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.place, non_blocking=True)

    def loss(self) -> torch.Tensor:
        """The loss in training, with gradients in the parameters."""
        self.optimizer.zero_grad(set_to_none=True)
        with self._precision():
            loss = self._batch_loss(self._sent(self.images), self._sent(self.labels))
        loss.backward()
        return loss

    def train(self) -> None:
        self.loss()
        self.optimizer.step()

    def start_inference(self) -> None:
        self.twin.eval()

    @torch.inference_mode()
    def infer(self) -> torch.Tensor:
        """Probabilities on the host, where ours are as well."""
        with self._precision():
            return self._batch_probabilities(self._sent(self.images)).cpu()

    def logits(self) -> NDArray[np.float32]:
        self.twin.eval()
        with torch.inference_mode():
            logits = self._logits_of(self._sent(self.images))
        self.twin.train()
        return logits.cpu().numpy()


def compare_results(ours: Ours, twins: Iterable[Theirs]) -> Sameness:
    """Compare outputs at inference, and loss and gradients in training, before any step."""
    logits = ours.logits()
    loss = ours.train().loss
    store = ours.network.store
    gradients = store.unflatten(np.array(store.device.get(store.grads)))
    differences = [
        (
            np.abs(logits - theirs.logits()).max(),
            abs(loss - theirs.loss().item()),
            gradient_difference(ours.network, gradients, theirs.twin),
        )
        for theirs in twins
    ]
    # NumPy's maximum, because Python's would pass over NaN
    return Sameness(*np.max(differences, axis=0).tolist())


def gradient_difference(
    network: Network, gradients: dict[str, NDArray[np.float32]], twin: torch.nn.Module
) -> float:
    """The norm of the difference of all gradients, relative to the norm of the twin's."""
    difference = norm = 0.0
    for pair in pairs(network, twin):
        if pair.path in gradients:
            assert pair.tensor.grad is not None
            expected = pair.tensor.grad.cpu().numpy()
            difference += float(np.square(pair.convert(gradients[pair.path]) - expected).sum())
            norm += float(np.square(expected).sum())
    return (difference / norm) ** 0.5
