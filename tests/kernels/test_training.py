"""Whole networks on the CUDA sources: the first gradients, and weights after many steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice

from cpcnn.core.context import Policy
from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Augmentation, Batch, Loader
from cpcnn.devices.cuda.table import FAST
from cpcnn.layers import (
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    GlobalMaxPooling2D,
    Layer,
    MaxPooling2D,
    Stack,
)
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.networks import build_network
from cpcnn.ops import REFERENCE
from cpcnn.optimizers import SGD, AdamW, Optimizer
from cpcnn.schedules import get_schedule
from cpcnn.training import Network, StepEnded, Trainer

SHAPE = (16, 16, 3)
CLASSES = 4
BATCH = 8


def images(count: int) -> tuple[Any, Any]:
    words = Philox(0, "images").words(np.arange(count * 16 * 16 * 3))[:, 0]
    return words.astype(np.uint8).reshape(count, *SHAPE), np.arange(count) % CLASSES


def network(root: Layer, device: Any, dtype: str) -> Network:
    made = Network(root, SHAPE)
    made.policy = Policy(dtype, dtype)
    made.preprocessing = {"mean": [127.0] * 3, "std": [64.0] * 3}
    made.build(device=device)
    # away from zero: the head of the ready networks starts there, and lets no gradient through
    weights = made.store.get_weights()
    for path, value in weights.items():
        weights[path] = value + 0.05 * np.abs(Philox(0, path).normal(value.shape))
    made.store.set_weights(weights)
    return made


def resnet9() -> Layer:
    return build_network("resnet9", SHAPE, CLASSES, width=0.125)


def first_gradients(device: Any) -> dict[str, Any]:
    """The gradients of all parameters in the first step, in float32."""
    made = network(resnet9(), device, "float32")
    pixels, labels = images(BATCH)
    with made.device.scope():
        ctx = made.context(training=True, grad=True)
        batch = Batch(pixels, labels, np.arange(BATCH))
        root, loss = made.training_root(CategoricalCrossentropy(label_smoothing=0.1))
        logits, saved = root.forward(made.to_input(ctx, batch), ctx)
        losses, kept = loss(ctx, logits, made.device.put(labels))
        share = ctx.xp.full(losses.shape, 1 / BATCH, dtype=losses.dtype)
        root.backward(loss.backward(ctx.interior, share, kept), saved, ctx)
    return made.store.unflatten(made.device.get(made.store.grads))


def test_the_first_gradients_are_those_of_numpy(device: EmulatedCudaDevice) -> None:
    expected, found = first_gradients("numpy"), first_gradients(device)
    assert max(np.abs(value).max() for value in expected.values()) > 0.1
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, atol=1e-5, err_msg=path)


def train(root: Layer, device: Any, optimizer: Optimizer, steps: int) -> tuple[Any, list[float]]:
    """Train in float64 and return the weights, and the losses as they were read."""
    loader = Loader(
        ArrayDataset(*images(10 * BATCH)),
        BATCH,
        shuffle=True,
        augmentation=Augmentation(horizontal_flip=True, shift=0.1, rotation=10, zoom=0.1),
    )
    epochs = steps // len(loader)
    made = network(root, device, "float64")
    start = made.store.get_weights()
    schedule = get_schedule("one-cycle", optimizer.learning_rate, steps)
    loss = CategoricalCrossentropy(label_smoothing=0.1)
    run = Trainer(made, loader, loader, optimizer, schedule, loss, epochs).run()
    losses = [event.loss for event in run if isinstance(event, StepEnded)]
    assert len(losses) == steps
    weights = made.store.get_weights()
    moved = [np.abs(weights[path] - start[path]).max() for path in weights]
    assert np.median(moved) > 1e-3  # or equal weights would mean nothing
    return weights, losses


def everything() -> Layer:
    """A network that calls the ops that `resnet9` does not."""
    return Stack(
        [
            Conv2D(8, 3, padding="same", activation="relu", kernel_initializer="fan_in_uniform"),
            Conv2D(8, 3, 2, groups=8, activation="tanh"),
            Conv2D(12, 3, dilation_rate=2, groups=4),
            BatchNormalization(activation="sigmoid"),
            AveragePooling2D(2, 1, "same"),
            Dropout(0.2),
            Stack([MaxPooling2D(3, 2, "same"), Conv2D(16, 1, activation="relu")]),
            GlobalMaxPooling2D(),
            Dense(CLASSES, activation="softmax"),
        ]
    )


@pytest.mark.parametrize(
    ("root", "optimizer", "steps"),
    [
        (resnet9, lambda: AdamW(learning_rate=0.002, global_clipnorm=1.0), 50),
        (everything, lambda: SGD(learning_rate=0.05, momentum=0.9, nesterov=True), 20),
    ],
    ids=["resnet9", "everything"],
)
def test_training_ends_at_the_weights_of_numpy(
    device: EmulatedCudaDevice, root: Any, optimizer: Any, steps: int
) -> None:
    """In float64, where no ReLU and no winner of a pooling falls to the other side."""
    expected, losses = train(root(), "numpy", optimizer(), steps)
    device.launcher.launched.clear()
    found, found_losses = train(root(), device, optimizer(), steps)
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, atol=1e-8, err_msg=path)
    np.testing.assert_allclose(found_losses, losses, atol=1e-8)
    kernels = {name for name, _ in device.launcher.launched}
    assert {"im2col", "adam_update" if root is resnet9 else "sgd_update"} <= kernels


def test_the_reference_is_left_what_is_a_line_of_array_arithmetic() -> None:
    assert set(REFERENCE) - set(FAST) == {
        "add",
        "multiply",
        "maximum",
        "concat",
        "layer_norm",
        "group_norm",
        "conv2d_transpose",
        "softmax_focal_cross_entropy",
        "focal_cross_entropy",
        "sigmoid_focal_cross_entropy",
        "binary_focal_cross_entropy",
        "mean_squared_error",
        "nadam_update",
        "rmsprop_update",
        "lamb_update",
        "clip_gradient",
    }
