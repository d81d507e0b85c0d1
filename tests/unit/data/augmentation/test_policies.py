"""RandAugment and TrivialAugment: what is drawn, how often and how far."""

from __future__ import annotations

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.data.augmentation.colour import ColourMaps
from cpcnn.data.augmentation.policies import KINDS, RAND_AUGMENT, TRIVIAL_AUGMENT, Policy, Ranges

INDEX = np.arange(14_000)
RANDOM = Philox(3, "augment/policy", 1)


def one(kind: str, level: float = 1.0, sign: float = 1.0, ranges: Ranges = RAND_AUGMENT) -> Policy:
    """A policy of one image that drew one kind."""
    shape = (1, 1)
    return Policy(
        ranges, np.full(shape, KINDS.index(kind)), np.full(shape, level), np.full(shape, sign)
    )


def test_every_kind_is_drawn_as_often() -> None:
    for policy in (
        Policy.rand_augment(RANDOM, INDEX, 9, 2),
        Policy.trivial_augment(RANDOM, INDEX),
    ):
        for step in policy.kinds:
            counts = np.bincount(step, minlength=len(KINDS))
            assert np.abs(counts - 1000).max() < 150
        assert abs((policy.signs > 0).mean() - 0.5) < 0.02


def test_rand_augment_has_one_magnitude() -> None:
    policy = Policy.rand_augment(RANDOM, INDEX, 12, 3)
    assert policy.kinds.shape == (3, len(INDEX))
    assert (policy.levels == 0.4).all()
    assert policy.ranges == RAND_AUGMENT
    # the steps are drawn independently of each other
    assert abs((policy.kinds[0] == policy.kinds[1]).mean() - 1 / 14) < 0.01


def test_trivial_augment_draws_its_magnitude() -> None:
    policy = Policy.trivial_augment(RANDOM, INDEX)
    levels, counts = np.unique(policy.levels, return_counts=True)
    np.testing.assert_allclose(levels, np.arange(31) / 30)
    assert np.abs(counts - len(INDEX) / 31).max() < 100


def test_draws_depend_on_the_sample_alone() -> None:
    whole = Policy.rand_augment(RANDOM, INDEX, 9, 2)
    part = Policy.rand_augment(RANDOM, INDEX[::-7], 9, 2)
    assert np.array_equal(part.kinds, whole.kinds[:, ::-7])
    assert np.array_equal(part.signs, whole.signs[:, ::-7])


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(
    ("kind", "ranges", "expected"),
    [
        ("shear_across", RAND_AUGMENT, [[1, 0, 0], [0.3, 1, 0]]),
        ("shear_down", TRIVIAL_AUGMENT, [[1, 0.99, 0], [0, 1, 0]]),
        ("shift_across", TRIVIAL_AUGMENT, [[1, 0, 0], [0, 1, 32]]),  # 32 pixels at most
        ("shift_down", TRIVIAL_AUGMENT, [[1, 0, 20], [0, 1, 0]]),  # or half of the side
        ("shift_down", RAND_AUGMENT, [[1, 0, 40 * 150 / 331], [0, 1, 0]]),
    ],
)
def test_warps_at_the_strongest(
    kind: str, ranges: Ranges, expected: list[list[float]], sign: float
) -> None:
    found = one(kind, sign=sign, ranges=ranges).affine(40, 100)[0] - np.eye(2, 3)
    np.testing.assert_allclose(found, sign * (np.array(expected) - np.eye(2, 3)))


@pytest.mark.parametrize(("ranges", "degrees"), [(RAND_AUGMENT, 30), (TRIVIAL_AUGMENT, 135)])
def test_rotations(ranges: Ranges, degrees: float) -> None:
    (found,) = one("rotation", 0.5, ranges=ranges).affine(9, 9)
    angle = np.degrees(np.arctan2(found[1, 0], found[0, 0]))
    assert angle == pytest.approx(degrees / 2)
    assert (found[:, 2] == 0).all()


def test_two_warps_are_made_in_the_order_drawn() -> None:
    kinds = np.array([[KINDS.index("rotation")], [KINDS.index("shift_down")]])
    policy = Policy(RAND_AUGMENT, kinds, np.ones((2, 1)), np.ones((2, 1)))
    turn, shift = one("rotation").affine(33, 33)[0], one("shift_down").affine(33, 33)[0]
    # the image is turned first, so that the way back from a place begins with the shift
    expected = turn[:, :2] @ shift[:, 2] + turn[:, 2]
    np.testing.assert_allclose(policy.affine(33, 33)[0, :, 2], expected)


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_colours(kind: str, sign: float) -> None:
    maps = ColourMaps.identity(1, 3)
    found = one(kind, 0.5, sign).colour(maps)
    expected = getattr(maps, kind)(np.array([1 + sign * 0.45]))
    np.testing.assert_allclose(found.matrix, expected.matrix)
    np.testing.assert_allclose(found.about_mean, expected.about_mean)


@pytest.mark.parametrize(
    ("kind", "ranges", "level", "expected"),
    [
        ("solarize", RAND_AUGMENT, 0.0, (255, 1)),
        ("solarize", RAND_AUGMENT, 1.0, (0, 1)),
        ("posterize", RAND_AUGMENT, 0.0, (256, 1)),
        ("posterize", RAND_AUGMENT, 1.0, (256, 16)),  # four bits of eight are left
        ("posterize", TRIVIAL_AUGMENT, 1.0, (256, 64)),
        ("equalize", TRIVIAL_AUGMENT, 1.0, (256, 1)),
    ],
)
def test_tones(kind: str, ranges: Ranges, level: float, expected: tuple[float, float]) -> None:
    assert one(kind, level, ranges=ranges).tone().tolist() == [list(expected)]


@pytest.mark.parametrize(
    ("kind", "sign", "expected"),
    [
        ("autocontrast", 1, (1, 0, 256)),
        ("equalize", 1, (0, 1, 256)),
        ("sharpness", 1, (0, 0, 486)),
        ("sharpness", -1, (0, 0, 26)),
        ("rotation", 1, (0, 0, 256)),
    ],
)
def test_filters(kind: str, sign: float, expected: tuple[int, int, int]) -> None:
    assert one(kind, 1.0, sign).filters().tolist() == [list(expected)]


def test_an_image_gets_only_what_it_drew() -> None:
    policy = Policy.trivial_augment(RANDOM, INDEX)
    kinds = policy.kinds[0]
    colours = policy.colour(ColourMaps.identity(len(INDEX), 3))
    changed = {
        "warp": (policy.affine(30, 30) != np.eye(2, 3)).any((1, 2)),
        "colour": (colours.matrix != np.eye(3)).any((1, 2)),
        "tone": (policy.tone() != (256, 1)).any(1),
        "filters": (policy.filters() != (0, 0, 256)).any(1),
    }
    where = {
        "warp": ("rotation", "shear_across", "shear_down", "shift_across", "shift_down"),
        "colour": ("brightness", "contrast", "saturation"),
        "tone": ("solarize", "posterize"),
        "filters": ("autocontrast", "equalize", "sharpness"),
    }
    for name, rows in changed.items():
        allowed = np.isin(kinds, [KINDS.index(kind) for kind in where[name]])
        assert not rows[~allowed].any()
        assert rows[allowed].mean() > 0.9  # but those of magnitude 0
