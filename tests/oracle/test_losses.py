"""Every loss against PyTorch: one number for each image, and the gradient of the outputs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn import losses
from cpcnn.losses import Loss

from .against_torch import Cases, F, assert_close, normal, sides, tensor, torch

pytestmark = pytest.mark.oracle

COUNTED = "loss cases compared with PyTorch"
CLIP = 1e-7  # Keras keeps probabilities so far from 0 and 1; PyTorch does not
Tensor = Any


@dataclass(frozen=True)
class Question:
    """Outputs, of which `y` are PyTorch's, and what they should have been."""

    y: Tensor
    labels: Tensor  # class indices (N,) or targets (N, K)
    smoothing: float
    logits: bool

    def targets(self, classes: int | None = None) -> Tensor:
        """Targets (N, K), smoothed as Keras does; binary ones towards one half: two classes."""
        wanted = self.labels
        if wanted.ndim == 1 and self.y.shape[1] > 1:
            wanted = F.one_hot(wanted, self.y.shape[1])
        wanted = wanted.reshape(self.y.shape).to(torch.float64)
        return wanted * (1 - self.smoothing) + self.smoothing / (classes or self.y.shape[1])

    def softmax(self) -> Tensor:
        if self.logits:
            return torch.softmax(self.y, 1)
        return (self.y / self.y.sum(1, keepdim=True)).clamp(CLIP, 1 - CLIP)

    def sigmoid(self) -> Tensor:
        return torch.sigmoid(self.y) if self.logits else self.y.clamp(CLIP, 1 - CLIP)


def categorical(q: Question, loss: Any) -> Tensor:
    if q.logits:
        return F.cross_entropy(q.y, q.labels, reduction="none", label_smoothing=q.smoothing)
    return -(q.targets() * q.softmax().log()).sum(1)


def binary(q: Question, loss: Any) -> Tensor:
    cross_entropy = F.binary_cross_entropy_with_logits if q.logits else F.binary_cross_entropy
    given = q.y if q.logits else q.sigmoid()
    return cross_entropy(given, q.targets(classes=2), reduction="none").mean(1)


def categorical_focal(q: Question, loss: Any) -> Tensor:
    p = q.softmax()
    alpha = torch.tensor(loss.alpha, dtype=torch.float64)
    return -(alpha * q.targets() * (1 - p) ** loss.gamma * p.log()).sum(1)


def binary_focal(q: Question, loss: Any) -> Tensor:
    p, t = q.sigmoid(), q.targets(classes=2)
    right = t * p + (1 - t) * (1 - p)
    balance = t * loss.alpha + (1 - t) * (1 - loss.alpha) if loss.apply_class_balancing else 1
    entropy = F.binary_cross_entropy(p, t, reduction="none")
    return (balance * (1 - right) ** loss.gamma * entropy).mean(1)


def squared_error(q: Question, loss: Any) -> Tensor:
    return F.mse_loss(q.y, q.targets(), reduction="none").mean(1)


@dataclass(frozen=True)
class LossCase:
    """How to draw a loss, and the same one in PyTorch."""

    twin: Callable[[Question, Any], Tensor]
    probability: Callable[[Tensor], Tensor] | None  # of outputs that are no logits
    options: st.SearchStrategy[dict[str, Any]] = st.just({})  # noqa: RUF009


gammas = st.sampled_from([0.0, 1.0, 2.0, 2.5])
CASES: dict[type[Loss], LossCase] = {
    losses.CategoricalCrossentropy: LossCase(categorical, lambda y: torch.softmax(y, 1)),
    losses.SparseCategoricalCrossentropy: LossCase(categorical, lambda y: torch.softmax(y, 1)),
    losses.BinaryCrossentropy: LossCase(binary, torch.sigmoid),
    losses.CategoricalFocalCrossentropy: LossCase(
        categorical_focal,
        lambda y: torch.softmax(y, 1),
        st.fixed_dictionaries({"alpha": st.sampled_from([0.25, 1.0]), "gamma": gammas}),
    ),
    losses.BinaryFocalCrossentropy: LossCase(
        binary_focal,
        torch.sigmoid,
        st.fixed_dictionaries(
            {
                "apply_class_balancing": st.booleans(),
                "alpha": st.sampled_from([0.25, 0.6]),
                "gamma": gammas,
            }
        ),
    ),
    losses.MeanSquaredError: LossCase(squared_error, None),
}
# the base class, and the form that with_class_weights makes, which has tests of its own below
EXEMPT = {losses.Loss, losses.ClassWeighted}


def test_every_loss_has_cases() -> None:
    public = {getattr(losses, name) for name in losses.__all__}
    kinds = {kind for kind in public if isinstance(kind, type) and issubclass(kind, Loss)}
    assert kinds - EXEMPT == CASES.keys()


@st.composite
def questions(draw: Callable[..., Any], kind: type[Loss]) -> tuple[Any, Any, NDArray[Any], bool]:
    """(loss, outputs, labels, whether the outputs are logits)"""
    case = CASES[kind]
    options = dict(draw(case.options))
    one_output = case.probability is torch.sigmoid and draw(st.booleans())
    images, classes = draw(st.integers(1, 30)), 1 if one_output else draw(st.integers(2, 9))
    seed = draw(st.integers(0, 2**32 - 1))
    y = normal(seed, "outputs", images, classes)
    logits = case.probability is None or draw(st.booleans())
    if case.probability is not None:
        options |= {"from_logits": logits, "label_smoothing": draw(st.sampled_from([0.0, 0.1]))}
        if not logits:
            y = case.probability(tensor(y)).numpy().astype(np.float32)
    drawn = normal(seed, "labels", images, max(classes, 2))
    labels: NDArray[Any] = drawn.argmax(1)
    if draw(st.booleans()):  # targets in place of class indices
        soft = np.exp(drawn) / np.exp(drawn).sum(1, keepdims=True)
        labels = soft[:, :classes].astype(np.float32)
    if isinstance(options.get("alpha"), float) and "apply_class_balancing" not in options:
        per_class = tuple(0.1 + 0.8 * k / classes for k in range(classes))
        options["alpha"] = draw(st.sampled_from([options["alpha"], per_class]))
    return kind(**options), y, labels, logits


def compare_loss(loss: Loss, twin: Any, y: Any, labels: Any, cases: Cases, dy: Any = None) -> None:
    """`twin` is a function of the outputs, in PyTorch; dy weighs the images."""
    leaf = tensor(y, grad=True)
    expected = twin(leaf)
    dy = normal(1, "dy", len(y)) if dy is None else dy
    expected.backward(tensor(dy))
    for side in cases.of_all_sides():
        ctx = side.context()
        with side.device.scope():
            found, saved = loss(ctx, side.put(y), side.put(labels))
            gradient = loss.backward(ctx, side.put(dy), saved)
        assert_close(side.get(found), expected, side, "the losses")
        assert_close(side.get(gradient), leaf.grad, side, "the gradient of the outputs")


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_loss(kind: type[Loss], count: Callable[[int, str], None]) -> None:
    cases = Cases()

    @given(questions(kind))
    def property(question: Any) -> None:
        loss, y, labels, logits = question
        smoothing = getattr(loss, "label_smoothing", 0.0)

        def twin(leaf: Tensor) -> Tensor:
            return CASES[kind].twin(Question(leaf, tensor(labels), smoothing, logits), loss)

        compare_loss(loss, twin, y, labels, cases)

    property()
    count(cases.number, COUNTED)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_class_weights(kind: type[Loss], count: Callable[[int, str], None]) -> None:
    """As in Keras an image's loss is multiplied by the weight of its class, smoothed or not.

    PyTorch weighs each class inside of a smoothed loss, so weights are applied outside here.
    """
    cases = Cases()

    @given(questions(kind))
    def property(question: Any) -> None:
        loss, y, labels, logits = question
        smoothing = getattr(loss, "label_smoothing", 0.0)
        weights = np.linspace(0.5, 2.0, max(2, y.shape[1]))
        if labels.ndim == 1:
            classes = labels
        else:
            classes = labels.argmax(1) if y.shape[1] > 1 else (labels[:, 0] > 0.5).astype(int)

        def twin(leaf: Tensor) -> Tensor:
            question = Question(leaf, tensor(labels), smoothing, logits)
            return CASES[kind].twin(question, loss) * tensor(weights[classes])

        compare_loss(loss.with_class_weights(weights), twin, y, labels, cases)

    property()
    count(cases.number, COUNTED)


def test_class_weights_are_normalised_otherwise(count: Callable[[int, str], None]) -> None:
    """Training takes the mean over N images; F.cross_entropy divides by the sum of weights."""
    cases = Cases()

    @given(st.integers(1, 30), st.integers(2, 9), st.integers(0, 2**32 - 1))
    def property(images: int, classes: int, seed: int) -> None:
        y = normal(seed, "outputs", images, classes)
        labels = normal(seed, "labels", images, classes).argmax(1)
        weights = 0.1 + np.abs(normal(seed, "weights", classes)).astype(np.float64)
        leaf = tensor(y, grad=True)
        F.cross_entropy(leaf, tensor(labels), tensor(weights)).backward()
        share = np.full(images, 1 / images)
        loss = losses.CategoricalCrossentropy(from_logits=True).with_class_weights(weights)
        for side in cases.of_all_sides():
            ctx = side.context()
            _, saved = loss(ctx, side.put(y), side.put(labels))
            gradient = side.get(loss.backward(ctx, side.put(share), saved))
            ours = gradient * (images / weights[labels].sum())
            assert_close(ours.astype(side.dtype), leaf.grad, side, "the gradient")

    property()
    count(cases.number, COUNTED)


@pytest.mark.parametrize(
    ("loss", "twin"),
    [
        (losses.CategoricalCrossentropy(from_logits=True), F.cross_entropy),
        (losses.BinaryCrossentropy(from_logits=True), F.binary_cross_entropy_with_logits),
    ],
)
@pytest.mark.parametrize("width", [10, 100])
def test_logits_of_certain_networks(
    loss: Loss, twin: Any, width: int, count: Callable[[int, str], None]
) -> None:
    """Far from zero, where probabilities are 0 or 1 to the last digit."""
    cases = Cases()
    y = np.float32(width) * normal(0, "outputs", 50, 6)
    labels = normal(0, "labels", 50, 6).argmax(1)
    targets = np.eye(6)[labels]

    def losses_of(leaf: Tensor) -> Tensor:
        found = twin(leaf, tensor(targets), reduction="none")
        return found if found.ndim == 1 else found.mean(1)

    compare_loss(loss, losses_of, y, labels, cases)
    count(cases.number, COUNTED)


@pytest.mark.parametrize(
    "kind",
    [losses.CategoricalCrossentropy, losses.BinaryCrossentropy],
    ids=lambda kind: kind.__name__,
)
def test_probabilities_of_certain_networks(
    kind: type[Loss], count: Callable[[int, str], None]
) -> None:
    """Zeros and ones are clipped and get no gradient.

    In float64 alone: 1 - 1e-7 is no float32 number, nor is it in Keras.
    """
    y, labels = np.eye(4)[[0, 1, 2, 3, 0, 1]], np.array([0, 1, 2, 0, 1, 2])
    leaf = tensor(y, grad=True)
    loss: Any = kind(from_logits=False)
    expected = CASES[kind].twin(Question(leaf, tensor(labels), 0.0, False), loss)
    expected.sum().backward()
    wide = [side for side in sides() if side.dtype == "float64"]
    for side in wide:
        ctx = side.context()
        found, saved = loss(ctx, side.put(y), side.put(labels))
        assert_close(side.get(found), expected, side, "the losses")
        gradient = side.get(loss.backward(ctx, side.put(np.ones(6)), saved))
        assert_close(gradient, leaf.grad, side, "the gradient")
        assert not gradient.any()
    count(len(wide), COUNTED)
