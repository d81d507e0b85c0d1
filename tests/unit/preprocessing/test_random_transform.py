import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.preprocessing.random_transform import NEUTRAL, Ranges, Transforms

INDEX = np.arange(4000)
RANDOM = Philox(3, "test")
SETTINGS: dict[str, dict[str, Any]] = {
    "theta": {"rotation": 25.0},
    "tx": {"width_shift": 0.25},
    "ty": {"height_shift": 0.125},
    "shear": {"shear": 12.0},
    "zx": {"zoom": (0.5, 1.25)},
    "zy": {"zoom": (0.5, 1.25)},
    "channel_shift_intensity": {"channel_shift": 30.0},
    "brightness": {"brightness": (0.25, 1.5)},
}
BOUNDS = {
    "theta": (-25, 25),
    "tx": (-10, 10),  # of 40 columns
    "ty": (-2.5, 2.5),  # of 20 rows
    "shear": (-12, 12),
    "zx": (0.5, 1.25),
    "zy": (0.5, 1.25),
    "channel_shift_intensity": (-30, 30),
    "brightness": (0.25, 1.5),
}
EVERYTHING = Ranges(
    **{key: value for setting in SETTINGS.values() for key, value in setting.items()},
    horizontal_flip=True,
    vertical_flip=True,
)


def draw(ranges: Ranges, random: Philox = RANDOM, index: Any = INDEX) -> Transforms:
    return ranges.draw(random, index, 20, 40)


@pytest.mark.parametrize("name", SETTINGS)
def test_each_parameter_fills_its_range_evenly(name: str) -> None:
    drawn = getattr(draw(Ranges(**SETTINGS[name])), name)
    low, high = BOUNDS[name]
    assert low <= drawn.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < drawn.max() <= high
    counts, _ = np.histogram(drawn, 8, (low, high))
    assert counts.min() > 420
    assert counts.max() < 580


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_alone_leaves_all_else_alone_and_draws_the_same(name: str) -> None:
    alone, together = draw(Ranges(**SETTINGS[name])), draw(EVERYTHING)
    np.testing.assert_array_equal(getattr(alone, name), getattr(together, name))
    for other, neutral in NEUTRAL.items():
        if SETTINGS.get(other) != SETTINGS[name]:
            value = getattr(alone, other)
            assert value is None if neutral is None else (value == neutral).all()


def test_parameters_are_independent_of_each_other() -> None:
    drawn = draw(EVERYTHING)
    table = np.stack([getattr(drawn, name) for name in NEUTRAL]).astype(float)
    correlations = np.corrcoef(table) - np.eye(len(table))
    assert np.abs(correlations).max() < 0.06


@pytest.mark.parametrize("name", ["flip_horizontal", "flip_vertical"])
def test_half_of_the_images_are_flipped(name: str) -> None:
    assert abs(getattr(draw(EVERYTHING), name).mean() - 0.5) < 0.03


@pytest.mark.parametrize(
    ("shift", "values"),
    [
        (0.25, None),
        (3.0, None),
        (1, {0}),
        (2, {-1, 0, 1}),
        (4, {-3, -2, -1, 0, 1, 2, 3}),
        ([1, 5], {-5, -1, 1, 5}),
        ([-1, 0, 1], {-1, 0, 1}),
        ([0.1, 0.5], {-20, -4, 4, 20}),
        (np.float32(0.25), None),
        (np.int64(2), {-1, 0, 1}),
        ([], {0}),
    ],
)
def test_shifts_are_fractions_pixels_or_choices(shift: Any, values: set[float] | None) -> None:
    drawn = draw(Ranges(width_shift=shift)).tx
    if values is not None:
        assert set(drawn.tolist()) == values
        return
    limit = float(shift) * 40 if shift < 1 else float(shift)
    assert -limit <= drawn.min() < -0.99 * limit
    assert 0.99 * limit < drawn.max() <= limit
    assert len(np.unique(drawn)) > 3000


def test_draws_depend_on_the_sample_alone() -> None:
    whole = draw(EVERYTHING)
    order = np.random.default_rng(0).permutation(INDEX)[:100]
    part = draw(EVERYTHING, index=order)
    for name in NEUTRAL:
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[order])
    other = draw(EVERYTHING, Philox(3, "test", epoch=1))
    assert (other.theta != whole.theta).mean() > 0.99


def keras_matrix(p: dict[str, float]) -> np.ndarray:
    """Keras' product of matrices, which maps (x, y) from output to input places."""
    theta, shear = math.radians(p["theta"]), math.radians(p["shear"])
    product = np.eye(3)
    for matrix in (
        [[math.cos(theta), -math.sin(theta), 0], [math.sin(theta), math.cos(theta), 0]],
        [[1, 0, p["tx"]], [0, 1, p["ty"]]],
        [[1, -math.sin(shear), 0], [0, math.cos(shear), 0]],
        [[p["zx"], 0, 0], [0, p["zy"], 0]],
    ):
        product = product @ np.array([*matrix, [0, 0, 1]])
    return product


PARAMETERS = st.fixed_dictionaries(
    {
        "theta": st.floats(-90, 90),
        "tx": st.floats(-9, 9),
        "ty": st.floats(-9, 9),
        "shear": st.floats(-45, 45),
        "zx": st.floats(0.25, 2),
        "zy": st.floats(0.25, 2),
        "flip_vertical": st.booleans(),
    }
)


@given(PARAMETERS)
def test_the_warp_is_keras_product(parameters: dict[str, float]) -> None:
    warp = Transforms.of_one(parameters).warp()
    matrix = np.eye(2, 3) if warp.affine is None else warp.affine[0]
    for x, y in [(0.0, 0.0), (3.0, -2.0), (-7.0, 5.0)]:
        expected = keras_matrix(parameters) @ [x, y, 1.0]
        row = -y if parameters["flip_vertical"] else y
        np.testing.assert_allclose(matrix @ [row, x, 1.0], expected[1::-1], atol=1e-4)


def test_changes_that_are_none_give_no_warp() -> None:
    warp = Transforms.of_one({}).warp()
    assert (warp.crop, warp.flip, warp.affine) == (None, None, None)
    flipped = Transforms.of_one({"flip_horizontal": True}).warp()
    assert flipped.affine is None
    assert flipped.flip is not None
    assert not Ranges(horizontal_flip=True, brightness=(0.5, 1.0)).move
    for setting in ("theta", "tx", "ty", "shear", "zx"):
        assert Ranges(**SETTINGS[setting]).move


def test_parameters_go_to_dictionaries_and_back() -> None:
    drawn = draw(EVERYTHING, index=INDEX[:3])
    for row, parameters in enumerate(drawn.to_dicts()):
        assert list(parameters) == list(NEUTRAL)
        back = Transforms.of_one(parameters)
        for name in NEUTRAL:
            assert getattr(back, name)[0] == getattr(drawn, name)[row]
    assert draw(Ranges(), index=INDEX[:1]).to_dicts() == [NEUTRAL]


def test_an_unknown_parameter() -> None:
    with pytest.raises(UsageError, match="no transform parameter 'angle'"):
        Transforms.of_one({"angle": 3})


@pytest.mark.parametrize(
    "setting",
    [
        {"rotation": -1.0},
        {"shear": math.nan},
        {"zoom": (-0.5, 1.0)},
        {"brightness": (0.5, math.inf)},
        {"channel_shift": "3"},
        {"width_shift": -0.1},
        {"height_shift": [1.0, math.nan]},
    ],
)
def test_ranges_that_cannot_be_meant(setting: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"{next(iter(setting))}_range must be of finite numbers"):
        Ranges(**setting)
