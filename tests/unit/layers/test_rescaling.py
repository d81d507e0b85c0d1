"""Rescaling and Normalization: formulas, measured statistics, saving, complaints."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import get_device
from cpcnn.layers import Layer, Normalization, Rescaling, from_config, to_config
from cpcnn.layers.rescaling import BLOCK
from cpcnn.preprocessing.image import ImageDataGenerator
from cpcnn.testing import check_layer

SCALES = [2.0, (2.0, -0.5, 3.0)]


def normal(*shape: int) -> NDArray[np.float64]:
    return Philox(0, "x").normal(shape).astype(np.float64)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@settings(max_examples=15)
@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.sampled_from(SCALES),
    st.sampled_from(SCALES),
    st.booleans(),
)
def test_they_keep_the_promises_of_layers(
    device: str, sizes: list[int], first: Any, second: Any, invert: bool
) -> None:
    here, shape = get_device(device, threads=1), (*sizes, 3)
    check_layer(Rescaling(first, second), shape, device=here)
    variance = tuple(np.square(second)) if isinstance(second, tuple) else second
    check_layer(Normalization(-1, first, variance, invert), shape, device=here)


def test_rescaling_is_its_formula(run_layer: Any) -> None:
    x = normal(2, 3, 4, 3)
    np.testing.assert_array_equal(run_layer(Rescaling(1 / 255), x), x * (1 / 255))
    y = run_layer(Rescaling([1, 2, 3], np.array([4.0, 5.0, 6.0])), x)
    np.testing.assert_array_equal(y, x * np.array([1, 2, 3]) + np.array([4, 5, 6]))


def test_normalization_is_its_formula(run_layer: Any) -> None:
    x = normal(2, 3, 4, 3)
    mean, variance = np.array([1.0, -2.0, 3.0]), np.array([4.0, 0.25, 0.0])
    y = run_layer(Normalization(mean=mean, variance=variance), x)
    np.testing.assert_array_equal(y, (x - mean) / np.array([2, 0.5, 1e-7]))
    back = run_layer(Normalization(mean=mean, variance=variance, invert=True), y)
    np.testing.assert_allclose(back, x, atol=1e-12)
    np.testing.assert_array_equal(run_layer(Normalization(None, 1.0, 4.0), x), (x - 1) / 2)


def test_a_large_mean_costs_no_digits() -> None:
    """x - mean comes first: in float32 x * factor + offset would lose three digits here."""
    x = (1000 + Philox(0, "x").normal((50, 1))).astype(np.float32)
    layer = Normalization(mean=(1000.0,), variance=(1e-4,))
    layer.build((1,))
    y, _ = layer.forward(x, _Float32())
    np.testing.assert_allclose(y, (x.astype(np.float64) - 1000) / 0.01, rtol=1e-6)


class _Float32:
    """The little that these layers ask of a context."""

    xp = np


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "int64"])
def test_adapt_measures_channels_in_float64(run_layer: Any, dtype: str) -> None:
    images = (normal(20, 6, 5, 3) * 40 + np.array([100, 120, 140])).astype(dtype)
    layer = Normalization()
    layer.adapt(images)
    exact = images.astype(np.float64)
    np.testing.assert_allclose(layer.mean, exact.mean((0, 1, 2)), rtol=1e-14)
    np.testing.assert_allclose(layer.variance, exact.var((0, 1, 2)), rtol=1e-13)
    y = run_layer(layer, exact)
    np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(y.var((0, 1, 2)), 1, atol=1e-12)


def test_adapt_measures_all_channels_as_one() -> None:
    images = normal(20, 6, 5, 3) + np.array([0.0, 5.0, 9.0])
    layer = Normalization(axis=None)
    layer.adapt(images)
    assert isinstance(layer.mean, float)
    assert layer.mean == pytest.approx(images.mean(), rel=1e-13)
    assert layer.variance == pytest.approx(images.var(), rel=1e-13)


def test_adapt_takes_batches_one_after_the_other() -> None:
    images = normal(23, 4, 4, 2) + 1e4
    parts = [images[:5], images[5:6], images[6:6], images[6:]]
    for source in (parts, iter(parts), list(images)):
        layer = Normalization()
        layer.adapt(source)
        np.testing.assert_allclose(layer.mean, images.mean((0, 1, 2)), rtol=1e-14)
        np.testing.assert_allclose(layer.variance, images.var((0, 1, 2)), rtol=1e-9)


def test_adapt_takes_one_epoch_of_a_generator() -> None:
    images = normal(23, 4, 4, 2)
    generator = ImageDataGenerator()
    layer = Normalization()
    layer.adapt(generator.flow(images, batch_size=8))
    np.testing.assert_allclose(layer.mean, images.mean((0, 1, 2)), rtol=1e-5)
    with pytest.raises(UsageError, match="Labels are no part of them"):
        layer.adapt(generator.flow(images, np.zeros(23), batch_size=8))


def test_adapt_cuts_large_arrays_into_blocks() -> None:
    images = np.arange(BLOCK + BLOCK // 2, dtype=np.int32).reshape(-1, 2)
    layer = Normalization()
    layer.adapt(images)
    count = len(images)
    np.testing.assert_allclose(layer.mean, [count - 1, count], rtol=1e-14)
    np.testing.assert_allclose(layer.variance, [(count**2 - 1) / 3] * 2, rtol=1e-12)


def test_what_was_measured_is_saved_to_the_last_bit() -> None:
    layer = Normalization()
    layer.adapt(normal(9, 5, 5, 3) / 7)
    again = from_config(json.loads(json.dumps(to_config(layer))))
    assert isinstance(again, Normalization)
    assert (again.mean, again.variance) == (layer.mean, layer.variance)


def test_arguments_are_those_of_keras() -> None:
    def arguments(kind: Any) -> dict[str, Any]:
        return {item.name: item.default for item in fields(kind) if item.init and not item.kw_only}

    assert arguments(Rescaling) == {"scale": MISSING, "offset": 0.0}
    assert arguments(Normalization) == {
        "axis": -1,
        "mean": None,
        "variance": None,
        "invert": False,
    }


def test_a_layer_that_measured_nothing_cannot_be_used() -> None:
    with pytest.raises(UsageError, match=r"adapt\(images\)"):
        Normalization().build((4, 4, 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Rescaling("1"), ["Rescaling: scale", "'1'"]),
        (lambda: Rescaling(None), ["scale", "None"]),
        (lambda: Rescaling(True), ["scale", "True"]),
        (lambda: Rescaling(()), ["scale", "()"]),
        (lambda: Rescaling(1, float("nan")), ["Rescaling: offset", "nan"]),
        (lambda: Rescaling(1e39), ["scale", "finite", "1e+39"]),
        (lambda: Rescaling(10**400), ["scale"]),
        (lambda: Rescaling([[1, 2], [3]]), ["scale", "[[1, 2], [3]]"]),
        (lambda: Rescaling(((1.0, 2.0),)), ["scale", "((1.0, 2.0),)"]),
        (lambda: Normalization(1.5), ["axis", "1.5"]),
        (lambda: Normalization(mean=1.0), ["both a mean and a variance"]),
        (lambda: Normalization(variance=1.0), ["both a mean and a variance"]),
        (lambda: Normalization(mean=0.0, variance=(1.0, -1.0)), ["variance", "at least 0", "-1.0"]),
        (lambda: Normalization().adapt(np.zeros((0, 4, 3))), ["no images"]),
        (lambda: Normalization().adapt([]), ["no images"]),
        (lambda: Normalization().adapt(5), ["images", "5"]),
        (lambda: Normalization().adapt(np.zeros(5)), ["images"]),
        (lambda: Normalization().adapt(np.zeros((2, 3), complex)), ["images"]),
        (lambda: Normalization().adapt(["a", "b"]), ["images", "'a'"]),
        (lambda: Normalization().adapt(np.full((2, 3), np.nan)), ["mean of the images", "nan"]),
        (
            lambda: Normalization().adapt([np.zeros((2, 3)), np.zeros((2, 4))]),
            ["3 and of 4 channels"],
        ),
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
        (Rescaling((1.0, 2.0)), (4, 4, 3), ["Rescaling", "2 channels", "(4, 4, 3)"]),
        (Rescaling(1.0, (1.0, 2.0)), (), ["2 channels", "()"]),
        (Normalization(-1, (1.0, 2.0), 1.0), (4, 4, 3), ["Normalization", "2 channels"]),
        (Normalization(1, 0.0, 1.0), (4, 4, 3), ["axis=1", "('N', 4, 4, 3)"]),
    ],
)
def test_shapes_that_do_not_fit(layer: Layer, shape: Any, words: list[str]) -> None:
    with pytest.raises(ShapeError) as caught:
        layer.build(shape)
    for word in words:
        assert word in str(caught.value)
