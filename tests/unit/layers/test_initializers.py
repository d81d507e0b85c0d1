"""Initializers: their names, statistics and streams, and their way through a checkpoint."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import cpcnn.initializers
from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.core.random import Philox
from cpcnn.initializers import (
    Constant,
    FanInUniform,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Identity,
    Initializer,
    LecunNormal,
    LecunUniform,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
    get_initializer,
    register_initializer,
)
from cpcnn.layers import Conv2D, Dense, from_config, to_config
from cpcnn.layers.initializers import INITIALIZERS, fans

SHAPE = (3, 3, 40, 90)
FAN_IN, FAN_OUT = 360, 810
RNG = Philox(3, "init/kernel")


def draw(initializer: Any, shape: tuple[int, ...] = SHAPE, rng: Philox = RNG) -> NDArray[Any]:
    values = get_initializer(initializer)(shape, rng)
    assert values.shape == shape
    assert values.dtype == np.float32
    return values.astype(np.float64)


def uniform(limit: float) -> tuple[float, float]:
    return limit / math.sqrt(3), limit


def truncated(variance: float) -> tuple[float, float]:
    """Deviation and bound of a normal, cut off at two deviations, that has this variance."""
    return math.sqrt(variance), 2 * math.sqrt(variance) / 0.87962566103423978


# initializer: (standard deviation, largest magnitude)
SPREADS: dict[Any, tuple[float, float]] = {
    "glorot_uniform": uniform(math.sqrt(6 / (FAN_IN + FAN_OUT))),
    "glorot_normal": truncated(2 / (FAN_IN + FAN_OUT)),
    "he_uniform": uniform(math.sqrt(6 / FAN_IN)),
    "he_normal": truncated(2 / FAN_IN),
    "lecun_uniform": uniform(math.sqrt(3 / FAN_IN)),
    "lecun_normal": truncated(1 / FAN_IN),
    "fan_in_uniform": uniform(1 / math.sqrt(FAN_IN)),
    "random_normal": (0.05, math.inf),
    "random_uniform": uniform(0.05),
    "truncated_normal": (0.05 * 0.87962566103423978, 0.1),
    "variance_scaling": truncated(1 / FAN_IN),
    VarianceScaling(3.0, "fan_out", "uniform"): uniform(math.sqrt(9 / FAN_OUT)),
    VarianceScaling(3.0, "fan_avg", "untruncated_normal"): (math.sqrt(6 / 1170), math.inf),
    RandomNormal(stddev=2.0): (2.0, math.inf),
    TruncatedNormal(stddev=2.0): (2 * 0.87962566103423978, 4.0),
}


@pytest.mark.parametrize("initializer", SPREADS, ids=str)
def test_random_numbers_have_the_spread_they_promise(initializer: Any) -> None:
    deviation, bound = SPREADS[initializer]
    values = draw(initializer)
    assert abs(values.mean()) < 4 * deviation / math.sqrt(values.size)
    assert values.std() == pytest.approx(deviation, rel=0.01)
    largest = np.abs(values).max()
    if bound < math.inf:
        assert 0.99 * bound < largest <= bound * (1 + 1e-6)
    else:
        assert largest > 3.5 * deviation


def test_the_middle_of_a_distribution_can_be_moved() -> None:
    assert draw(RandomNormal(3.0, 0.5)).mean() == pytest.approx(3, abs=0.01)
    assert draw(TruncatedNormal(-3.0, 0.5)).mean() == pytest.approx(-3, abs=0.01)
    values = draw(RandomUniform(2.0, 6.0))
    assert values.mean() == pytest.approx(4, abs=0.03)
    assert (values.min(), values.max()) == pytest.approx((2, 6), abs=1e-3)
    assert values.min() >= 2
    assert values.max() <= 6


def test_truncated_normals_have_the_shape_of_the_normal_density() -> None:
    """Shares of ten equal intervals, against the normal distribution function."""
    values = draw(TruncatedNormal(0.0, 1.0), (400_000,))
    edges = np.linspace(-2, 2, 11)
    cumulative = np.array([math.erf(edge / math.sqrt(2)) for edge in edges])
    expected = np.diff(cumulative) / (cumulative[-1] - cumulative[0])
    found = np.histogram(values, edges)[0] / values.size
    np.testing.assert_allclose(found, expected, atol=4 * math.sqrt(0.15 / values.size))


def test_numbers_that_are_not_drawn() -> None:
    assert (draw("zeros") == 0).all()
    assert (draw("ones") == 1).all()
    assert (draw("constant") == 0).all()
    assert (draw(Constant(-2.5)) == -2.5).all()
    assert np.array_equal(draw("identity", (3, 5)), np.eye(3, 5))
    assert np.array_equal(draw(Identity(2.0), (4, 2)), 2 * np.eye(4, 2))


@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
    st.integers(1, 24),
    st.sampled_from([1.0, 0.5, -3.0]),
)
def test_orthogonal_matrices(front: list[int], columns: int, gain: float) -> None:
    matrix = draw(Orthogonal(gain), (*front, columns)).reshape(-1, columns)
    product = matrix.T @ matrix if matrix.shape[0] >= columns else matrix @ matrix.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-5)


def test_orthogonal_matrices_have_no_preferred_signs() -> None:
    """The diagonal of Q would be of one sign if the factorisation's choice were kept."""
    corners = [draw("orthogonal", (2, 2), RNG.child(str(k)))[0, 0] for k in range(400)]
    assert 150 < sum(corner > 0 for corner in corners) < 250


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((7, 5), (7, 5)),  # dense
        ((3, 2, 4, 8), (24, 48)),  # convolution
        ((3, 2, 4, 1), (24, 6)),  # depthwise, with one filter per channel
        ((3, 2, 1, 8), (6, 48)),
    ],
)
def test_fans_are_counted_as_in_keras(shape: Any, expected: Any) -> None:
    assert fans(shape) == expected


DRAWN = [name for name in SPREADS if isinstance(name, str)] + ["orthogonal"]


@pytest.mark.parametrize("name", DRAWN)
def test_numbers_depend_on_seed_stream_and_shape_alone(name: str) -> None:
    shape = (2, 2, 5, 7)
    first = draw(name, shape)
    assert np.array_equal(draw(name, shape), first)
    assert not np.array_equal(draw(name, shape, Philox(4, RNG.stream)), first)
    assert not np.array_equal(draw(name, shape, Philox(3, "init/other")), first)


@pytest.mark.parametrize("name", DRAWN)
def test_a_seed_of_its_own_replaces_that_of_the_model(name: str) -> None:
    kind = type(get_initializer(name))
    one, other = (draw(kind(seed=11), (5, 7), Philox(seed, "init/a")) for seed in (0, 1))  # type: ignore[call-arg]
    assert np.array_equal(one, other)
    assert np.array_equal(one, draw(name, (5, 7), Philox(11, "init/a")))
    assert not np.array_equal(one, draw(kind(seed=11), (5, 7), Philox(0, "init/b")))  # type: ignore[call-arg]


def test_what_ready_networks_start_from_stays_as_it_is() -> None:
    """Their measured accuracies belong to these very numbers."""
    values = draw("fan_in_uniform", (3, 3, 2, 4), Philox(0, "init/conv.kernel"))
    expected = [0.002666574902832508, -0.23034720122814178, -0.06324741244316101]
    assert values.reshape(-1)[:3].tolist() == expected


KERAS = {
    Constant: {"value": 0.0},
    RandomNormal: {"mean": 0.0, "stddev": 0.05, "seed": None},
    RandomUniform: {"minval": -0.05, "maxval": 0.05, "seed": None},
    TruncatedNormal: {"mean": 0.0, "stddev": 0.05, "seed": None},
    VarianceScaling: {
        "scale": 1.0,
        "mode": "fan_in",
        "distribution": "truncated_normal",
        "seed": None,
    },
    Orthogonal: {"gain": 1.0, "seed": None},
    Identity: {"gain": 1.0},
    Zeros: {},
    Ones: {},
    GlorotUniform: {"seed": None},
    GlorotNormal: {"seed": None},
    HeUniform: {"seed": None},
    HeNormal: {"seed": None},
    LecunUniform: {"seed": None},
    LecunNormal: {"seed": None},
}


@pytest.mark.parametrize("kind", KERAS, ids=lambda kind: kind.__name__)
def test_arguments_and_defaults_are_those_of_keras(kind: Any) -> None:
    assert {item.name: item.default for item in fields(kind)} == KERAS[kind]


def test_every_initializer_is_public_and_has_a_word() -> None:
    assert set(INITIALIZERS.values()) == {*KERAS, FanInUniform}
    for name, kind in INITIALIZERS.items():
        assert getattr(cpcnn.initializers, name) is kind
        assert get_initializer(name) == kind()
    assert get_initializer("lecun_normal") == LecunNormal()
    assert get_initializer(given_object := HeNormal(seed=3)) is given_object


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: get_initializer("he"), ["'he'", "he_normal", "orthogonal"]),
        (lambda: get_initializer(None), ["None", "HeNormal(seed=1)"]),  # type: ignore[arg-type]
        (lambda: get_initializer(np.zeros), ["zeros", "he_normal"]),  # type: ignore[arg-type]
        (lambda: Constant("a"), ["Constant", "value", "'a'"]),  # type: ignore[arg-type]
        (lambda: Constant(True), ["value", "True"]),
        (lambda: Constant(1e39), ["value", "finite", "1e+39"]),
        (lambda: Constant(10**400), ["Constant", "value"]),
        (lambda: RandomNormal(math.nan), ["mean", "nan"]),
        (lambda: RandomNormal(stddev=-1.0), ["RandomNormal", "stddev", "at least 0", "-1.0"]),
        (lambda: TruncatedNormal(stddev=math.inf), ["stddev", "inf"]),
        (lambda: RandomUniform(1.0, 0.5), ["maxval", "at least 1", "0.5"]),
        (lambda: VarianceScaling(-1), ["scale", "-1"]),
        (lambda: VarianceScaling(mode="in"), ["mode", "fan_in", "'in'"]),
        (lambda: VarianceScaling(distribution="normal"), ["distribution", "'normal'"]),
        (lambda: HeNormal(seed=1.5), ["HeNormal", "seed", "1.5"]),  # type: ignore[arg-type]
        (lambda: Identity(None), ["gain", "None"]),  # type: ignore[arg-type]
        (lambda: draw("identity", (3, 3, 3)), ["Identity", "(3, 3, 3)"]),
        (lambda: draw("orthogonal", (3,)), ["Orthogonal", "(3,)"]),
    ],
)
def test_initializers_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "initializer",
    [
        *(kind() for kind in INITIALIZERS.values()),
        Constant(0.25),
        RandomUniform(-1.0, 1.0, seed=5),
        VarianceScaling(2.0, "fan_out", "uniform", 7),
    ],
    ids=str,
)
def test_objects_survive_a_checkpoint(initializer: Initializer) -> None:
    config = json.loads(json.dumps(to_config(Dense(4, kernel_initializer=initializer))))
    again = from_config(config)
    assert isinstance(again, Dense)
    assert again.kernel_initializer == initializer
    again.build((3,))
    assert again.kernel is not None
    assert again.kernel.initializer is again.kernel_initializer


def test_only_what_differs_from_the_defaults_of_an_object_is_written() -> None:
    layer = Conv2D(8, 3, kernel_initializer=RandomNormal(stddev=0.1), bias_initializer="ones")
    config = to_config(layer)["config"]
    assert config["kernel_initializer"] == {
        "initializer": "RandomNormal",
        "config": {"stddev": 0.1},
    }
    assert config["bias_initializer"] == "ones"


def test_an_initializer_of_ones_own() -> None:
    @dataclass(frozen=True)
    class Checkered(Initializer):
        values: tuple[float, ...] = (0.0, 1.0)

        def __call__(self, shape: Any, rng: Philox) -> NDArray[Any]:
            return np.resize(np.array(self.values, np.float32), shape)

    config = json.loads(json.dumps(to_config(Dense(2, kernel_initializer=Checkered((1.0, 2.0))))))
    with pytest.raises(CheckpointError, match=r"'Checkered'.*[Ii]mport the module"):
        from_config(config)
    try:
        assert register_initializer(Checkered) is Checkered
        again = from_config(config)
        assert isinstance(again, Dense)
        assert again.kernel_initializer == Checkered((1.0, 2.0))
        assert get_initializer("checkered") == Checkered()
        with pytest.raises(UsageError, match="'Checkered' is registered already"):
            register_initializer(type("Checkered", (Initializer,), {}))
    finally:
        del INITIALIZERS["Checkered"]
