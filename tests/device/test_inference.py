"""Prediction goes by what a network is now, however often it has predicted before."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import (
    Activation,
    Add,
    AveragePooling2D,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    Input,
    Lambda,
    MaxPooling2D,
    Stack,
)
from cpcnn.models import Model, Sequential
from cpcnn.networks import build_network

SHAPE = (12, 12, 3)


def images(number: int, count: int = 2, shape: Any = SHAPE) -> NDArray[np.float32]:
    return Philox(number, "images").normal((count, *shape))


def plain(model: Any, x: NDArray[Any]) -> NDArray[Any]:
    """Run the layers as they are: nothing is fused, kept or repeated."""
    ctx = Context(model.device)
    with model.device.scope():
        return np.array(model.root.forward(np.ascontiguousarray(x, np.float32), ctx)[0])


def check(model: Any, **options: Any) -> None:
    """Predict other images every time, with a pass recorded and repeated on the way."""
    for number in range(4):
        x = images(number, **options)
        np.testing.assert_allclose(model.predict(x), plain(model, x), rtol=1e-4, atol=1e-5)


def recordings(model: Any) -> int:
    batches = model.prepared()._batches.values()
    return sum(kept.recording is not None for batch in batches for kept in batch.passes)


def small() -> Sequential:
    """One of each layer that can be repeated."""
    model = Sequential(
        [
            Conv2D(8, 3, padding="same", activation="tanh"),
            BatchNormalization(activation="relu"),
            MaxPooling2D(),
            DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            Activation("relu"),
            AveragePooling2D(),
            Dropout(0.5),
            Conv2D(20, 3, activation="relu"),
            Flatten(),
            Dense(7, activation="relu"),
            Dense(4),
        ]
    )
    model.build(SHAPE, device=get_device("cpu", threads=2))
    return model


def test_repeated_passes_compute_the_same_bits() -> None:
    model = small()
    for count in (1, 2, 5):
        first = model.predict(images(0, count))
        for number in range(1, 4):
            model.predict(images(number, count))
        assert np.array_equal(model.predict(images(0, count)), first)
    assert recordings(model) in (0, 3)  # without the compiled ops there are none


def test_threads_share_the_images_of_small_networks() -> None:
    model = small()
    first = {count: model.predict(images(0, count), batch_size=count) for count in (15, 16, 70)}
    for count, expected in first.items():
        for number in (1, 2, 0):
            found = model.predict(images(number, count), batch_size=count)
        assert np.array_equal(found, expected)
        np.testing.assert_allclose(found, plain(model, images(0, count)), rtol=1e-4, atol=1e-5)
    assert recordings(model) in (0, 1 + 2 + 4)
    for threads in (1, 3):
        model.to(get_device("cpu", threads=threads))
        for count, expected in first.items():
            for _ in range(3):
                found = model.predict(images(0, count), batch_size=count)
                assert np.array_equal(found, expected)


@pytest.mark.parametrize("network", ["simple", "resnet9", "resnet18"])
def test_networks(network: str) -> None:
    root = build_network(network, (32, 32, 3), 10, width=0.25)
    model = Model.from_layer(root, (32, 32, 3))
    model.build(device=get_device("cpu", threads=2))
    for param in model.store.params.values():  # a head of zeros would hide everything
        param.assign(Philox(0, "weights").normal(param.shape) * 0.1 + (len(param.shape) == 1))
    check(model, count=1, shape=(32, 32, 3))


def test_graphs() -> None:
    image = Input(SHAPE)
    x = Conv2D(8, 3, padding="same", activation="relu")(image)
    y = Conv2D(8, 3, padding="same")(x)
    x = Activation("relu")(Add()([BatchNormalization()(y), x]))
    model = Model(image, Dense(3)(GlobalAveragePooling2D()(x)))
    model.build(device=get_device("cpu", threads=2))
    check(model)


def test_new_weights_count_at_once() -> None:
    model = small()
    check(model)
    model.set_weights([array * 1.1 for array in model.get_weights()])
    check(model)
    for param in model.store.params.values():
        param.value *= 1.1  # behind everybody's back
    check(model)
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.predict(images(0))
    model.fit(images(1, 8), np.arange(8) % 4, verbose=0)
    assert not np.allclose(model.predict(images(0)), before)
    check(model)
    layer = model.layers[0]
    layer.kernel.value = layer.kernel.value * 2  # type: ignore[attr-defined]
    check(model)


def test_changed_layers_count_at_once() -> None:
    model = small()
    check(model)
    model.layers[-2].activation = "sigmoid"  # type: ignore[attr-defined]
    check(model)
    assert isinstance(model.root, Stack)
    model.root.layers[1] = Activation("tanh")  # within its list of layers
    check(model)
    model.root.layers.append(Activation("relu"))
    check(model)
    model.root = Stack(model.root.layers[:-2])
    check(model)


def test_another_device() -> None:
    model = small()
    for device in ("numpy", get_device("cpu", threads=1), get_device("cpu", threads=3)):
        check(model)
        model.to(device)
    check(model)


def test_no_winograd_when_exactness_is_asked_for() -> None:
    device = copy.copy(get_device("cpu", threads=1))
    model = Sequential([Conv2D(32, 3, padding="same"), Conv2D(32, 3, padding="same")])
    model.build(SHAPE, device=device)
    fast = [model.predict(images(0)) for _ in range(3)][-1]
    device.exact = True
    exact = [model.predict(images(0)) for _ in range(3)][-1]
    device.exact = False
    assert np.array_equal(model.predict(images(0)), fast)
    np.testing.assert_allclose(exact, fast, atol=1e-4)


class Doubled(Dense):
    """A layer of one's own that computes with arrays."""

    def forward(self, x: Any, ctx: Context) -> Any:
        y, saved = super().forward(x, ctx)
        return y * 2, saved


def doubled(xp: Any, x: Any) -> Any:
    return x * 2, None


def halved(xp: Any, dy: Any, saved: Any) -> Any:
    return dy * 2


@pytest.mark.parametrize("own", [Doubled(3), Lambda(doubled, halved)])
def test_layers_that_compute_themselves_are_not_repeated(own: Any) -> None:
    model = Sequential([Conv2D(4, 3), Flatten(), own])
    model.build(SHAPE, device=get_device("cpu", threads=2))
    check(model)
    assert not recordings(model)


def test_ops_that_are_not_compiled_are_not_repeated() -> None:
    model = small()
    model.policy = type(model.policy)("float32", "float64")
    for number in range(4):
        x = images(number)
        np.testing.assert_allclose(model.predict(x), plain(model, x), rtol=1e-4, atol=1e-5)
    assert not recordings(model)


def test_large_passes_are_not_kept() -> None:
    model = Sequential([Conv2D(32, 3), MaxPooling2D(), Conv2D(4, 1), Flatten(), Dense(2)])
    model.build((64, 64, 1), device=get_device("cpu", threads=2))
    x = images(0, 60, (64, 64, 1))
    for _ in range(4):
        model.predict(x, batch_size=60)
    assert not recordings(model)


def test_results_are_no_longer_touched() -> None:
    model = small()
    kept = [(x, model.predict(x)) for x in (images(k) for k in range(6))]
    for x, y in kept:
        assert np.array_equal(model.predict(x), y)


def test_images_stay_and_need_not_be_writeable_or_contiguous() -> None:
    model = small()
    x = images(0, 4)
    before, expected = x.copy(), model.predict(x)
    x.setflags(write=False)
    assert np.array_equal(model.predict(x), expected)
    turned = np.ascontiguousarray(x.transpose(3, 2, 1, 0)).transpose(3, 2, 1, 0)
    assert np.array_equal(model.predict(turned), expected)
    assert np.array_equal(x, before)


def test_threads_of_the_program_predict_at_once() -> None:
    model = small()
    x = [images(number, 1 + number % 3 + 16 * (number % 2)) for number in range(40)]
    expected = [model.predict(batch) for batch in x]
    with ThreadPoolExecutor(6) as pool:
        for _ in range(5):
            for found, y in zip(pool.map(model.predict, x), expected, strict=True):
                assert np.array_equal(found, y)
