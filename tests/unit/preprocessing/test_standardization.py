import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.preprocessing import standardization
from cpcnn.preprocessing.standardization import (
    Standardization,
    channel_moments,
    whitening_matrix,
)


def noise(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(dtype)


IMAGES = noise(6, 5, 4, 3)


def exact_moments(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and deviation per channel in rational numbers, rounded once."""
    means, deviations = [], []
    for channel in range(images.shape[3]):
        values = [Fraction(float(value)) for value in images[..., channel].ravel()]
        mean = sum(values, Fraction()) / len(values)
        variance = sum(((value - mean) ** 2 for value in values), Fraction()) / len(values)
        means.append(float(mean))
        deviations.append(math.sqrt(variance))
    return means, deviations


@given(
    seed=st.integers(0, 1000),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    dtype=st.sampled_from([np.uint8, np.float32, np.float64]),
    offset=st.sampled_from([0.0, 1e6]),
)
def test_moments_are_exact(seed: int, shape: tuple[int, ...], dtype: Any, offset: float) -> None:
    shift = 0.0 if dtype is np.uint8 else offset
    images = (np.random.default_rng(seed).uniform(0, 255, shape) + shift).astype(dtype)
    for found, exact in zip(channel_moments(images), exact_moments(images), strict=True):
        np.testing.assert_allclose(found, exact, rtol=1e-14, atol=1e-9 if shift else 1e-13)


def test_moments_of_nothing() -> None:
    with pytest.raises(UsageError, match="no pixels to measure"):
        channel_moments(np.zeros((0, 4, 4, 3)))


def test_featurewise_statistics_are_taken_after_rescaling() -> None:
    steps = Standardization(
        rescale=1 / 255, featurewise_center=True, featurewise_std_normalization=True
    )
    images = noise(20, 6, 5, 3, dtype=np.uint8)
    steps.fit(images)
    mean, std = exact_moments(images)
    np.testing.assert_allclose(steps.mean, [[np.array(mean) / 255]], rtol=1e-14)  # type: ignore[arg-type]
    np.testing.assert_allclose(steps.std, [[np.array(std) / 255]], rtol=1e-14)  # type: ignore[arg-type]
    result = steps.apply(images.astype(np.float64))
    np.testing.assert_allclose(result.mean(axis=(0, 1, 2)), 0.0, atol=1e-12)
    np.testing.assert_allclose(result.std(axis=(0, 1, 2)), 1.0, rtol=1e-5)


def test_steps_come_in_keras_order() -> None:
    steps = Standardization(
        preprocessing_function=lambda image: image + 1.0,
        rescale=0.5,
        samplewise_center=True,
        samplewise_std_normalization=True,
        featurewise_center=True,
        featurewise_std_normalization=True,
        mean=[1.0, 2.0, 3.0],
        std=[4.0, 5.0, 6.0],
    )
    for image, result in zip(IMAGES, steps.apply(IMAGES), strict=True):
        x = (image.astype(np.float64) + 1.0) * 0.5
        x = (x - x.mean()) / (x.std() + 1e-6)
        x = (x - [1.0, 2.0, 3.0]) / (np.array([4.0, 5.0, 6.0]) + 1e-6)
        np.testing.assert_allclose(result, x, atol=1e-5)


@pytest.mark.parametrize("rescale", [None, 0])
def test_nothing_asked_is_a_copy(rescale: float | None) -> None:
    result = Standardization(rescale=rescale).apply(IMAGES)
    np.testing.assert_array_equal(result, IMAGES)
    assert not np.shares_memory(result, IMAGES)


def test_a_function_may_work_in_place_on_its_own_image() -> None:
    def double(image: np.ndarray) -> np.ndarray:
        image *= 2.0
        return image

    before = IMAGES.copy()
    result = Standardization(preprocessing_function=double).apply(IMAGES)
    np.testing.assert_array_equal(result, 2.0 * before)
    np.testing.assert_array_equal(IMAGES, before)


def test_a_function_must_keep_the_shape() -> None:
    steps = Standardization(preprocessing_function=lambda image: image[:2])
    with pytest.raises(UsageError, match=r"must keep the shape \(5, 4, 3\); it returned \(2, 4"):
        steps.apply(IMAGES)


def test_whitened_images_are_uncorrelated() -> None:
    steps = Standardization(rescale=1 / 255, featurewise_center=True, zca_whitening=True)
    mixing = np.random.default_rng(1).normal(size=(24, 24))
    images = (np.random.default_rng(2).normal(size=(300, 24)) @ mixing).reshape(300, 2, 4, 3)
    steps.fit(images)
    white = steps.apply(images).reshape(300, 24)
    np.testing.assert_allclose(white.T @ white / 300, np.eye(24), atol=1e-3)
    matrix = steps.zca_whitening_matrix
    assert matrix is not None
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-9)  # zero-phase: it turns nothing
    assert np.linalg.eigvalsh(matrix).min() > 0.0


def test_whitening_of_more_values_than_images() -> None:
    rows = np.random.default_rng(0).normal(size=(5, 12))
    white = rows @ whitening_matrix(rows, 1e-6)
    np.testing.assert_allclose(np.linalg.svd(white)[1] ** 2 / 5, np.ones(5), rtol=1e-4)


def test_whitening_that_does_not_fit_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standardization, "available_memory", lambda: 1000)
    with pytest.raises(UsageError, match="ZCA whitening of images with 12 values"):
        whitening_matrix(np.ones((5, 12)), 1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"featurewise_std_normalization": True},
        {"samplewise_std_normalization": True},
        {"zca_whitening": True},
        {"zca_whitening": True, "featurewise_center": True, "featurewise_std_normalization": True},
    ],
)
def test_what_one_option_needs_of_another_is_set_and_said(options: dict[str, bool]) -> None:
    with pytest.warns(UserWarning, match=r"(needs|stands in for) .*, which is now (on|off)"):
        steps = Standardization(**options)
    assert steps.samplewise_center == steps.samplewise_std_normalization
    assert steps.featurewise_center != steps.samplewise_center
    assert not (steps.zca_whitening and steps.featurewise_std_normalization)


def test_statistics_that_nobody_measured_are_left_out_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="mean is not known"):
        result = Standardization(featurewise_center=True).apply(IMAGES)
    np.testing.assert_array_equal(result, IMAGES)


def test_a_mean_and_a_deviation_per_channel_say_the_same() -> None:
    steps = Standardization(
        rescale=1 / 128, featurewise_center=True, featurewise_std_normalization=True
    )
    steps.fit(IMAGES)
    found = steps.affine(3)
    assert found is not None
    mean, std = found
    np.testing.assert_allclose((IMAGES - mean) / std, steps.apply(IMAGES), atol=1e-6)
    assert [values.tolist() for values in Standardization(rescale=1 / 255).affine(2) or ()] == [
        [0.0, 0.0],
        [255.0, 255.0],
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"preprocessing_function": np.negative},
        {"samplewise_center": True},
        {"featurewise_center": True, "zca_whitening": True, "mean": 1.0},
        {"featurewise_center": True, "mean": np.ones((3, 1, 1))},
        {"featurewise_center": True, "mean": np.ones((5, 4, 3))},
    ],
)
def test_what_no_mean_and_deviation_per_channel_can_say(options: dict[str, Any]) -> None:
    assert Standardization(**options).affine(3) is None
