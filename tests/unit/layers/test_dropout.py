"""Dropout and SpatialDropout2D: what is dropped together, from which numbers, and complaints."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import Dropout, Layer, SpatialDropout2D
from cpcnn.testing import check_layer

SHAPE = (8, 5, 4, 30)


def dropped(layer: Layer, *, seed: int = 0, step: int = 0, path: str = "a") -> NDArray[Any]:
    """What a layer makes of ones: zeros, and what the others are scaled to."""
    layer.path = path
    rng = Philox(seed, "dropout", step)
    context = Context(get_device("numpy"), training=True, rng=rng)
    return np.asarray(layer.forward(np.ones(SHAPE), context)[0])


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    st.sampled_from(["numpy", "cpu"]),
)
def test_they_keep_the_promises_of_layers(shape: Any, rate: float, device: str) -> None:
    here = get_device(device, threads=1)
    for layer in (
        Dropout(rate),
        Dropout(rate, (None, 1, None, None), seed=3),
        SpatialDropout2D(rate),
        SpatialDropout2D(rate, seed=5),
    ):
        check_layer(layer, shape, device=here)
        check_layer(layer, shape, device=here, training=False)


@pytest.mark.parametrize(
    ("layer", "drawn"),
    [
        (SpatialDropout2D(0.4), (8, 1, 1, 30)),
        (Dropout(0.4, (None, 1, 1, None)), (8, 1, 1, 30)),
        (Dropout(0.4, (None, 5, None, 1)), (8, 5, 4, 1)),
        (Dropout(0.4, (1, None, None, 30)), (1, 5, 4, 30)),
        (Dropout(0.4), SHAPE),
    ],
)
def test_what_is_dropped_together(layer: Layer, drawn: Any) -> None:
    """The output is constant along the axes that are not drawn, and the mask has the rate."""
    layer.build(SHAPE[1:])
    y = dropped(layer)
    first = y[tuple(slice(size) for size in drawn)]
    np.testing.assert_array_equal(y, np.broadcast_to(first, SHAPE))
    assert set(np.unique(y)) == {0.0, 1 / 0.6}
    share = (first == 0).mean()
    assert share == pytest.approx(0.4, abs=4 * (0.24 / first.size) ** 0.5)


def test_whole_channels_are_the_same_draw_as_a_noise_shape() -> None:
    noise = Dropout(0.5, (None, 1, 1, None))
    np.testing.assert_array_equal(dropped(noise), dropped(SpatialDropout2D(0.5)))


@pytest.mark.parametrize("kind", [Dropout, SpatialDropout2D])
def test_a_seed_of_its_own_replaces_that_of_the_training(kind: Any) -> None:
    own = dropped(kind(0.5, seed=7), seed=1)
    np.testing.assert_array_equal(own, dropped(kind(0.5, seed=7), seed=2))
    np.testing.assert_array_equal(own, dropped(kind(0.5), seed=7))
    for other in (
        dropped(kind(0.5), seed=1),
        dropped(kind(0.5, seed=7), step=1),
        dropped(kind(0.5, seed=7), path="b"),
    ):
        assert not np.array_equal(own, other)


def test_arguments_are_those_of_keras() -> None:
    def arguments(kind: Any) -> list[str]:
        return [item.name for item in fields(kind) if item.init and not item.kw_only]

    assert arguments(Dropout) == ["rate", "noise_shape", "seed"]
    assert arguments(SpatialDropout2D) == ["rate", "data_format", "seed"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SpatialDropout2D(-0.1), ["SpatialDropout2D", "rate", "-0.1"]),
        (lambda: SpatialDropout2D("half"), ["SpatialDropout2D", "rate", "'half'"]),
        (lambda: Dropout(0.1, seed="1"), ["Dropout", "seed", "'1'"]),
        (lambda: SpatialDropout2D(0.1, seed=True), ["seed", "True"]),
        (lambda: SpatialDropout2D(0.1, "channels_first"), ["data_format", "channels_first"]),
        (lambda: Dropout(0.1, 3), ["Dropout", "noise_shape", "3"]),
        (lambda: Dropout(0.1, (None, 0)), ["noise_shape", "(None, 0)"]),
        (lambda: Dropout(0.1, (None, 1.0)), ["noise_shape", "1.0"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("layer", "shape", "words"),
    [
        (SpatialDropout2D(0.1), (5,), ["SpatialDropout2D", "(5,)"]),
        (Dropout(0.1, (None, 1)), (4, 5), ["(None, 1)", "('N', 4, 5)"]),
        (Dropout(0.1, (None, 3)), (4,), ["(None, 3)", "('N', 4)"]),
        (Dropout(0.1, (32, 4)), (4,), ["(32, 4)", "None or 1"]),
        (Dropout(0.1, ()), (4,), ["()"]),
    ],
)
def test_shapes_that_do_not_fit(layer: Layer, shape: Any, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape)
    for word in words:
        assert word in str(caught.value)
