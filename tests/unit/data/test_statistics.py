import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import DataError
from cpcnn.data.statistics import measure_statistics


@given(
    shape=st.tuples(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3)),
    seed=st.integers(0, 1000),
)
def test_equals_numpy_in_any_order_and_grouping(shape: tuple[int, ...], seed: int) -> None:
    images = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    mean, std = measure_statistics([images])
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)), rtol=1e-12)
    expected = images.std(axis=(0, 1, 2))
    np.testing.assert_allclose(std, np.where(expected == 0, 1, expected), rtol=1e-9)
    assert measure_statistics(images) == (mean, std)
    assert measure_statistics(images[::-1]) == (mean, std)


def test_a_constant_channel_has_std_one() -> None:
    images = np.zeros((2, 2, 2), np.uint8)
    images[:, :, 1] = [[1, 3], [1, 3]]
    assert measure_statistics([images]) == ((0.0, 2.0), (1.0, 1.0))


def test_nothing_to_measure() -> None:
    with pytest.raises(DataError, match="no pixels"):
        measure_statistics([])
    with pytest.raises(DataError, match="no pixels"):
        measure_statistics([np.empty((0, 4, 4, 3), np.uint8)])


def test_floats_are_refused() -> None:
    with pytest.raises(DataError, match="uint8 images, not float32"):
        measure_statistics([np.zeros((2, 2, 1), np.float32)])
