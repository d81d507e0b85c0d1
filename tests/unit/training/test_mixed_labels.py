"""Images of two labels: losses, gradients, and what counts as right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.data import ArrayDataset, Augmentation, Batch, Changes, Loader, Mix
from cpcnn.devices import get_device
from cpcnn.losses import BinaryCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy
from cpcnn.optimizers import SGD
from cpcnn.schedules import Constant
from cpcnn.training import EpochEnded, Trainer
from cpcnn.training.mixed_labels import labels_to_learn

from .conftest import stripes

LABELS = np.array([0, 2, 1, 2])
WEIGHT = np.array([0.8, 0.3, 0.5, 1.0], np.float32)


def mixed_batch(labels: Any = LABELS) -> Batch:
    n = len(labels)
    mix = Mix(np.ones(n, np.float32), np.zeros((n, 4), np.int32), WEIGHT)
    return Batch(np.zeros((n, 2, 2, 1)), labels, np.arange(n), changes=Changes(mix=mix))


def soft(labels: Any, classes: int) -> Any:
    rows = np.eye(classes)[labels]
    return WEIGHT[:, None] * rows + (1 - WEIGHT)[:, None] * np.roll(rows, -1, axis=0)


def both(loss: Any, outputs: Any, labels: Any) -> tuple[Any, Any]:
    """Losses and the gradient of their weighted sum."""
    ctx = Context(get_device("numpy"), training=True, grad=True)
    losses, saved = loss(ctx, outputs, labels)
    return losses, loss.backward(ctx, np.arange(1.0, 5.0), saved)


@pytest.mark.parametrize(
    "loss",
    [
        CategoricalCrossentropy(),
        CategoricalCrossentropy(label_smoothing=0.2),
        CategoricalFocalCrossentropy(label_smoothing=0.1),
        CategoricalFocalCrossentropy(alpha=[1.0, 2.0, 0.5], gamma=0.5),
    ],
    ids=repr,
)
def test_the_loss_is_that_of_the_mixed_target(loss: Any) -> None:
    outputs = np.random.default_rng(0).normal(size=(4, 3))
    ctx = Context(get_device("numpy"), training=True, grad=True)
    mixed, known = labels_to_learn(loss.bind(True), ctx, mixed_batch())
    assert known.tolist() == [0, 1, 1, 2]  # the second one is mostly its neighbour
    for found, expected in zip(
        both(mixed, outputs, known), both(loss.bind(True), outputs, soft(LABELS, 3)), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_each_label_brings_the_weight_of_its_class() -> None:
    outputs = np.random.default_rng(1).normal(size=(4, 3))
    weights = np.array([1.0, 0.5, 3.0])
    loss = CategoricalCrossentropy().with_class_weights(weights).bind(True)
    ctx = Context(get_device("numpy"), training=True, grad=True)
    mixed, known = labels_to_learn(loss, ctx, mixed_batch())
    target = soft(LABELS, 3) * weights
    log_p = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
    losses, gradient = both(mixed, outputs, known)
    np.testing.assert_allclose(losses, -(target * log_p).sum(1), rtol=1e-6)
    expected = np.exp(log_p) * target.sum(1, keepdims=True) - target
    np.testing.assert_allclose(gradient, expected * np.arange(1.0, 5.0)[:, None], rtol=1e-5)


def test_one_output_tells_two_classes_apart() -> None:
    outputs, labels = np.random.default_rng(2).normal(size=(4, 1)), LABELS % 2
    loss = BinaryCrossentropy().bind(True)
    ctx = Context(get_device("numpy"), training=True, grad=True)
    mixed, known = labels_to_learn(loss, ctx, mixed_batch(labels))
    found = both(mixed, outputs, known)
    expected = both(loss, outputs, soft(labels, 2)[:, 1:])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_batch_that_is_not_mixed_stays_as_it_is() -> None:
    loss, ctx = CategoricalCrossentropy(), Context(get_device("numpy"))
    for changes in (None, Changes()):
        batch = Batch(np.zeros((4, 2, 2, 1)), LABELS, np.arange(4), changes=changes)
        assert labels_to_learn(loss, ctx, batch) == (loss, LABELS)
    assert labels_to_learn(loss, ctx, _Foreign())[0] is loss


class _Foreign:
    """A batch of a loader of one's own, which knows of no changes."""

    images, labels, warp = np.zeros((4, 2, 2, 1)), LABELS, None


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_network_learns_from_mixed_images(
    make_trainer: Callable[..., Trainer], device: str
) -> None:
    images, labels = stripes(120, "train")
    pixels = np.clip(images * 40 + 100, 0, 255).astype(np.uint8)
    data = [ArrayDataset(pixels[part], labels[part]) for part in (slice(90), slice(90, None))]
    optimizer = SGD(0.02, momentum=0.9)
    trainer = make_trainer(
        device=device,
        train=Loader(data[0], 8, shuffle=True, augmentation=Augmentation(mixup=0.2)),
        optimizer=optimizer,
        schedule=Constant(0.02),
        epochs=15,
    )
    trainer.validation = Loader(data[1], 8)
    trainer.model.preprocessing = {"mean": [100.0], "std": [40.0]}
    epochs = [event for event in trainer.run() if isinstance(event, EpochEnded)]
    assert epochs[-1].train_accuracy > 0.7  # of the image that is mostly seen
    assert epochs[-1].validation_accuracy is not None
    assert epochs[-1].validation_accuracy > 0.7
