"""The two sides of the benchmark: one training step and one inference, from the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from cases import Case
from numpy.typing import NDArray
from our_side import CLASSES, LABEL_SMOOTHING, LEARNING_RATE, WEIGHT_DECAY, Ours, make_batch
from torch_twins import TWINS, make_twin, pairs

from cpcnn.data import Batch, Preprocessing
from cpcnn.training import Network

__all__ = ["Ours", "Theirs", "compare_results", "make_batch"]

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
CPU_COMPILED_VARIANTS = {f"compiled {layout}": Variant(layout, compiled=True) for layout in LAYOUTS}
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


class Theirs:
    """The twin in PyTorch, in one variant; `place` is PyTorch's name of the device.

    Without a `network` of ours to take weights from, PyTorch draws them.
    """

    def __init__(
        self,
        case: Case,
        batch: Batch,
        preprocessing: Preprocessing,
        network: Network | None,
        variant: Variant,
        place: str = "cpu",
    ) -> None:
        self.variant = variant
        self.place = torch.device(place)
        memory_format = LAYOUTS[variant.layout]
        if network is None:
            twin = TWINS[case.network](case.size, case.channels, CLASSES, case.width)
        else:
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


class Results(NamedTuple):
    """What a side computes before any step: logits at inference, loss and gradients in training."""

    logits: NDArray[np.float32]
    loss: float
    gradients: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, ours: Ours) -> Results:
        """Compute ours, with the one step that changes nothing."""
        logits = ours.logits()
        loss = ours.train().loss
        store = ours.network.store
        return cls(logits, loss, store.unflatten(np.array(store.device.get(store.grads))))

    def difference(self, network: Network, theirs: Theirs) -> Sameness:
        return Sameness(
            float(np.abs(self.logits - theirs.logits()).max()),
            abs(self.loss - theirs.loss().item()),
            gradient_difference(network, self.gradients, theirs.twin),
        )


def compare_results(ours: Ours, twins: Iterable[Theirs]) -> Sameness:
    """Compare outputs at inference, and loss and gradients in training, before any step."""
    results = Results.of(ours)
    return worst([results.difference(ours.network, theirs) for theirs in twins])


def worst(differences: Iterable[Sameness]) -> Sameness:
    """Return the largest differences of all twins."""
    # NumPy's maximum, because Python's would pass over NaN
    return Sameness(*np.max([astuple(difference) for difference in differences], axis=0).tolist())


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
