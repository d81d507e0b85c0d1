"""Initializers against PyTorch: mean, deviation, bounds and the whole distribution.

The two sides draw different numbers, so samples of at least 20,000 are compared. They are the same
in every run: what passes once does not fail by chance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn import initializers
from cpcnn.core.random import Philox
from cpcnn.initializers import Initializer
from cpcnn.layers.initializers import INITIALIZERS, fans

from .against_torch import torch

pytestmark = pytest.mark.oracle

COUNTED = "initializer statistics compared with PyTorch"
CUT = 0.87962566103423978  # the deviation of a standard normal that is cut at two
init = torch.nn.init
Shape = tuple[int, ...]
Fill = Callable[[Any], Any]  # fills a tensor of PyTorch's layout in place


def truncated(deviation: float, mean: float = 0.0) -> Fill:
    """A normal of this deviation before it is cut at two of them."""
    low, high = mean - 2 * deviation, mean + 2 * deviation
    return lambda tensor: init.trunc_normal_(tensor, mean, deviation, low, high)


def scaled(gain: float, fan: str) -> Fill:
    """Keras cuts its normals and makes up for it; those of PyTorch's rules are not cut."""

    def fill(tensor: Any) -> Any:
        fan_in, fan_out = init._calculate_fan_in_and_fan_out(tensor)
        size = {"in": fan_in, "out": fan_out, "both": (fan_in + fan_out) / 2}[fan]
        return truncated(math.sqrt(gain / size) / CUT)(tensor)

    return fill


def kaiming(distribution: str, nonlinearity: str, mode: str = "fan_in") -> Fill:
    rule = init.kaiming_uniform_ if distribution == "uniform" else init.kaiming_normal_
    return lambda tensor: rule(tensor, mode=mode, nonlinearity=nonlinearity)


def plain(mode: str, scale: float = 2.0) -> Initializer:
    return initializers.VarianceScaling(scale, mode, "untruncated_normal")


PAIRS: list[tuple[Initializer, Fill]] = [
    (initializers.RandomNormal(0.3, 0.2), lambda t: init.normal_(t, 0.3, 0.2)),
    (initializers.RandomUniform(-0.1, 0.4), lambda t: init.uniform_(t, -0.1, 0.4)),
    (initializers.TruncatedNormal(0.1, 0.2), truncated(0.2, 0.1)),
    (initializers.GlorotUniform(), init.xavier_uniform_),
    (initializers.GlorotNormal(), scaled(1.0, "both")),
    (initializers.HeUniform(), kaiming("uniform", "relu")),
    (initializers.HeNormal(), scaled(2.0, "in")),
    (initializers.LecunUniform(), kaiming("uniform", "linear")),
    (initializers.LecunNormal(), scaled(1.0, "in")),
    # the default of PyTorch's layers
    (initializers.FanInUniform(), lambda t: init.kaiming_uniform_(t, a=math.sqrt(5))),
    (plain("fan_in"), kaiming("normal", "relu")),
    (plain("fan_out"), kaiming("normal", "relu", "fan_out")),
    (plain("fan_avg", 1.0), init.xavier_normal_),
    (initializers.VarianceScaling(2.0, "fan_out"), scaled(2.0, "out")),
    (
        initializers.VarianceScaling(1.0, "fan_out", "uniform"),
        kaiming("uniform", "linear", "fan_out"),
    ),
    (initializers.Orthogonal(1.3), lambda t: init.orthogonal_(t, 1.3)),
]
EXACT: list[tuple[Initializer, Fill]] = [
    (initializers.Zeros(), init.zeros_),
    (initializers.Ones(), init.ones_),
    (initializers.Constant(0.7), lambda t: init.constant_(t, 0.7)),
    (initializers.Identity(), init.eye_),
]


def test_every_initializer_has_a_twin() -> None:
    assert {type(ours) for ours, _ in [*PAIRS, *EXACT]} == set(INITIALIZERS.values())


def to_torch(shape: Shape) -> Shape:
    """PyTorch has the outputs first: (Cout, Cin, KH, KW), or (U, F)."""
    return (shape[-1], shape[-2], *shape[:-2])


def torch_sample(fill: Fill, shape: Shape, seed: int) -> NDArray[Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return fill(torch.empty(to_torch(shape), dtype=torch.float64)).numpy()


@st.composite
def kernels(draw: Callable[..., Any]) -> Shape:
    """Shapes of dense kernels and of convolutions, of 20,000 numbers or more."""
    window = draw(st.sampled_from([(), (1, 1), (3, 3), (2, 5)]))
    inputs = draw(st.integers(16, 200))
    outputs = math.ceil(20_000 / math.prod(window) / inputs)
    return (*window, inputs, outputs + draw(st.integers(0, 50)))


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=lambda k: type(PAIRS[k][0]).__name__)
def test_statistics(number: int, count: Callable[[int, str], None]) -> None:
    ours, fill = PAIRS[number]
    compared = 0

    @settings(max_examples=10)
    @given(kernels(), st.integers(0, 2**32 - 1))
    def property(shape: Shape, seed: int) -> None:
        nonlocal compared
        found = ours(shape, Philox(seed, "init")).astype(np.float64)
        assert found.shape == shape
        assert_same_distribution(found.reshape(-1), torch_sample(fill, shape, seed).reshape(-1))
        compared += 1

    property()
    count(compared, COUNTED)


def assert_same_distribution(found: NDArray[Any], expected: NDArray[Any]) -> None:
    """Five standard errors for mean and deviation, the bounds, and a Kolmogorov-Smirnov test."""
    size, deviation = len(found), expected.std()
    error = deviation * math.sqrt(2 / size)  # of a difference of two means
    assert abs(found.mean() - expected.mean()) < 5 * error
    kurtosis = ((expected - expected.mean()) ** 4).mean() / deviation**4
    assert abs(found.std() - deviation) < 5 * error * math.sqrt((kurtosis - 1) / 4)
    if kurtosis < 2.9:  # what has bounds nearly reaches them
        assert found.max() == pytest.approx(expected.max(), abs=0.05 * deviation)
        assert found.min() == pytest.approx(expected.min(), abs=0.05 * deviation)
    places = np.sort(np.concatenate([found, expected]))
    shares = [
        np.searchsorted(np.sort(sample), places, side="right") / size
        for sample in (found, expected)
    ]
    assert np.abs(shares[0] - shares[1]).max() < 2.7 * math.sqrt(2 / size)


@given(kernels())
def test_fans(shape: Shape) -> None:
    """A kernel's fans are PyTorch's, as long as it has no groups."""
    assert fans(shape) == init._calculate_fan_in_and_fan_out(torch.empty(to_torch(shape)))


@given(st.integers(1, 5), st.integers(1, 8), st.integers(1, 4))
def test_fans_of_depthwise_kernels(size: int, channels: int, multiplier: int) -> None:
    """Keras takes (KH, KW, C, M) for a kernel of C inputs; in PyTorch's one channel is seen."""
    theirs = torch.empty((channels * multiplier, 1, size, size))
    fan_in, fan_out = init._calculate_fan_in_and_fan_out(theirs)
    assert fans((size, size, channels, multiplier)) == (fan_in * channels, fan_out // channels)


@given(
    st.lists(st.integers(1, 3), max_size=2), st.integers(1, 20), st.integers(1, 20), st.integers(0)
)
def test_orthogonality(window: list[int], inputs: int, outputs: int, seed: int) -> None:
    """The rows or columns, the fewer, are orthonormal; PyTorch's matrix has the outputs as rows."""
    shape = (*window, inputs, outputs)
    ours = initializers.Orthogonal()(shape, Philox(seed % 2**64, "init")).astype(np.float64)
    theirs = torch_sample(init.orthogonal_, shape, seed % 2**32)
    matrices = ours.reshape(-1, outputs).T, theirs.reshape(outputs, -1)
    grams = [m @ m.T if m.shape[0] <= m.shape[1] else m.T @ m for m in matrices]
    np.testing.assert_allclose(grams[0], grams[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("number", range(len(EXACT)), ids=lambda k: type(EXACT[k][0]).__name__)
def test_numbers_that_are_not_drawn(number: int, count: Callable[[int, str], None]) -> None:
    ours, fill = EXACT[number]
    shapes = [(7, 5), (5, 7)]
    for shape in shapes:
        found = ours(shape, Philox(0, "init"))
        np.testing.assert_array_equal(found, torch_sample(fill, shape, 0).T.astype(np.float32))
    count(len(shapes), COUNTED)
