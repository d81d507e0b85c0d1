"""The estimate of memory against what a pass, and a training step, really allocate."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cpcnn.devices import get_device
from cpcnn.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    Recompute,
    Stack,
)
from cpcnn.layers.fuse import fuse
from cpcnn.losses import SparseCategoricalCrossentropy
from cpcnn.networks import build_network
from cpcnn.optimizers import AdamW
from cpcnn.training.memory import measure_footprint
from cpcnn.training.network import Network
from cpcnn.training.step import TrainingStep
from cpcnn.training.tally import Tally

FACTOR = 1.3  # how far the estimate may be off
CASES = [
    ("simple", (48, 48, 3), 32, 1.0),
    ("resnet9", (32, 32, 3), 16, 0.5),
    ("resnet18", (32, 32, 3), 16, 0.5),
]


def network(root: Layer, shape: tuple[int, ...]) -> Network:
    made = Network(root)
    made.build(shape, device=get_device("cpu", threads=2))
    return made


def peak_of(build: Callable[[], Network], run: Callable[[Network], object]) -> int:
    """Return the most bytes that were allocated at a time, from nothing on.

    What the device hands out again and again is memory that is not traced.
    """
    run(build())  # what is loaded at first use is the program
    tracemalloc.start()
    try:
        made = build()
        first = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        run(made)
        device: Any = made.device
        return max(first, tracemalloc.get_traced_memory()[1] + int(device.memory_reached))
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "shape", "batch", "width"), CASES, ids=[c[0] for c in CASES])
def test_inference(name: str, shape: tuple[int, ...], batch: int, width: float) -> None:
    def build() -> Network:
        return network(build_network(name, shape, 10, width=width), shape)

    def classify(made: Network) -> None:
        with made.device.scope():
            fuse(made.root).forward(np.zeros((batch, *shape), np.float32), made.context())

    real, estimate = peak_of(build, classify), measure_footprint(build()).inference(batch)
    assert real / FACTOR < estimate < real * FACTOR


@pytest.mark.parametrize(("name", "shape", "batch", "width"), CASES, ids=[c[0] for c in CASES])
def test_training(name: str, shape: tuple[int, ...], batch: int, width: float) -> None:
    images = np.zeros((batch, *shape), np.uint8)
    labels = np.zeros(batch, np.int64)

    def build() -> Network:
        return network(build_network(name, shape, 10, width=width), shape)

    def train(made: Network) -> None:
        optimizer = AdamW()
        optimizer.prepare(made.store)
        step = TrainingStep(made, SparseCategoricalCrossentropy(), optimizer, 0)
        data = SimpleNamespace(images=images, labels=labels, warp=None)
        for _ in range(2):
            step(data, 1e-3, Tally(made, step.loss), update=True)

    footprint = measure_footprint(build())
    real, estimate = peak_of(build, train), footprint.training(batch, slots=2)
    assert real / FACTOR < estimate < real * FACTOR


def block(wrap: Callable[[Layer], Layer]) -> list[Layer]:
    body = Stack([Conv2D(8, 3, padding="same"), BatchNormalization(), Dropout(0.5)])
    return [wrap(body), wrap(Stack([Conv2D(8, 3, padding="same"), BatchNormalization()]))]


def test_what_is_computed_again_is_not_kept() -> None:
    shape = (16, 16, 3)
    plain = measure_footprint(network(Stack(block(lambda body: body)), shape))
    again = measure_footprint(network(Stack(block(Recompute)), shape))
    image = 16 * 16 * 8 * 4
    assert again.kept_image < plain.kept_image - 2 * image
    # what a body keeps when its turn comes is counted, but for one body at a time
    assert plain.training_image - 3 * image < again.training_image < plain.training_image


def test_what_a_layer_keeps_is_counted_once() -> None:
    footprint = measure_footprint(
        network(
            Stack([Conv2D(4, 1, activation="relu"), Flatten(), Dense(2, activation="softmax")]),
            (8, 8, 3),
        )
    )
    # the image, kept by the convolution; its output, kept by the dense layer as well
    assert footprint.kept["conv2d"] == 8 * 8 * 3 * 4 + 8 * 8 * 4 * 4
    assert footprint.kept["dense"] <= 2 * 4
    assert footprint.parameters == ((3 * 4 + 4) + (8 * 8 * 4 * 2 + 2)) * 4


def test_measuring_changes_nothing() -> None:
    made = network(Stack([Conv2D(4, 3), BatchNormalization(), Flatten(), Dense(3)]), (6, 6, 3))
    before = {path: value.copy() for path, value in made.store.get_weights().items()}
    first = measure_footprint(made)
    assert measure_footprint(made) == first
    assert all(np.array_equal(before[path], made.store.get_weights()[path]) for path in before)
    assert all("forward" not in vars(layer) for _, layer in made.root.walk())


def test_more_images_take_more() -> None:
    footprint = measure_footprint(network(build_network("simple", (16, 16, 1), 4), (16, 16, 1)))
    for measure in (footprint.inference, lambda batch: footprint.training(batch, 1)):
        one, two, three = (measure(batch) for batch in (1, 2, 3))
        assert 0 < two - one == three - two
    assert footprint.training(8, 2) - footprint.training(8, 1) == footprint.gradients
    assert footprint.inference(8) < footprint.training(8, 0)


def test_running_statistics_have_no_gradients() -> None:
    made = network(Stack([Conv2D(4, 3), BatchNormalization(), Flatten(), Dense(3)]), (6, 6, 3))
    footprint = measure_footprint(made)
    moving = 2 * 4  # mean and variance of the batch normalisation
    assert footprint.parameters - footprint.gradients == moving * 4
