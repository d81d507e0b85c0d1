import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.core.random import Philox
from cpcnn.data.augmentation.affine import compose
from cpcnn.data.augmentation.augment import Augmentation
from cpcnn.data.augmentation.changes import Changes, Warp
from cpcnn.devices import get_device

INDEX = np.arange(4000)
EVERYTHING = Augmentation(True, shift=0.1, rotation=20.0, shear=10.0, zoom=0.2, vertical_flip=True)
STRONG = Augmentation(
    True, random_crop=0.3, contrast=0.2, hue=9.0, trivial_augment=True, erasing=0.25, mixup=0.2
)


def keras_matrix(theta: float, tx: float, ty: float, shear: float, zx: float, zy: float) -> Any:
    """The product of Keras' four matrices, in (row, column) order, angles in radians."""
    rotation = [[math.cos(theta), -math.sin(theta), 0], [math.sin(theta), math.cos(theta), 0]]
    shift = [[1, 0, tx], [0, 1, ty]]
    shearing = [[1, -math.sin(shear), 0], [0, math.cos(shear), 0]]
    zoom = [[zx, 0, 0], [0, zy, 0]]
    product = np.eye(3)
    for matrix in (rotation, shift, shearing, zoom):
        product = product @ np.array([*matrix, [0, 0, 1]])
    return product[:2]


ANGLE = st.floats(-1.5, 1.5)
PIXELS = st.floats(-20, 20)
FACTOR = st.floats(0.1, 3)


@given(rows=st.lists(st.tuples(ANGLE, PIXELS, PIXELS, ANGLE, FACTOR, FACTOR), min_size=1))
def test_compose_is_keras_product(rows: list[tuple[float, ...]]) -> None:
    theta, tx, ty, shear, zx, zy = np.array(rows).T
    product = compose(rotation=theta, shift=(tx, ty), shear=shear, zoom=(zx, zy))
    assert product.shape == (len(rows), 2, 3)
    np.testing.assert_allclose(product, [keras_matrix(*row) for row in rows], atol=1e-12)


def test_rotation_alone_turns_about_the_centre() -> None:
    warp = Augmentation(rotation=30.0).draw(0, 0, INDEX, 9, 9)
    assert warp.affine is not None
    matrix, offset = warp.affine[:, :, :2].astype(float), warp.affine[:, :, 2]
    assert (offset == 0).all()
    np.testing.assert_allclose(matrix @ matrix.transpose(0, 2, 1) - np.eye(2), 0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)
    angles = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert -30 <= angles.min() < -29
    assert 29 < angles.max() < 30


def test_zoom_alone_draws_both_axes_on_their_own() -> None:
    affine = Augmentation(zoom=0.3).draw(0, 0, INDEX, 9, 9).affine
    assert affine is not None
    assert (affine[:, [0, 1, 0, 1], [1, 0, 2, 2]] == 0).all()
    factors = affine[:, [0, 1], [0, 1]]
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3
    assert abs(np.corrcoef(factors.T)[0, 1]) < 0.06


def test_shear_alone_is_in_degrees() -> None:
    affine = Augmentation(shear=12.0).draw(0, 0, INDEX, 9, 9).affine
    assert affine is not None
    assert (affine[:, 0, 0] == 1).all()
    assert (affine[:, 1, 0] == 0).all()
    angles = np.degrees(np.arcsin(-affine[:, 0, 1]))
    assert 11.9 < np.abs(angles).max() <= 12.0
    np.testing.assert_allclose(affine[:, 1, 1], np.cos(np.radians(angles)), rtol=1e-6)


def test_shift_alone_is_whole_pixels_evenly() -> None:
    warp = Augmentation(shift=0.125).draw(0, 0, INDEX, 32, 17)
    assert warp.affine is None
    assert warp.crop is not None
    assert warp.crop.dtype == np.int32
    for axis, most in ((0, 4), (1, 2)):
        values, counts = np.unique(warp.crop[:, axis], return_counts=True)
        np.testing.assert_array_equal(values, np.arange(-most, most + 1))
        assert counts.min() > 0.8 * len(INDEX) / (2 * most + 1)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_shift_never_exceeds_what_reflection_can_give(side: int) -> None:
    crop = Augmentation(shift=0.999).draw(0, 0, INDEX, side, side).crop
    assert crop is not None
    assert np.abs(crop).max() <= side - 1


def test_shift_in_a_warp_stands_between_rotation_and_shear() -> None:
    affine = Augmentation(shift=0.25, rotation=90.0).draw(0, 0, INDEX, 20, 40).affine
    assert affine is not None
    shift = np.linalg.inv(affine[:, :, :2]) @ affine[:, :, 2:]
    assert 4.9 < np.abs(shift[:, 0]).max() <= 5.0001
    assert 9.9 < np.abs(shift[:, 1]).max() <= 10.0001


def test_half_of_the_images_are_flipped() -> None:
    warp = Augmentation(horizontal_flip=True).draw(0, 0, INDEX, 8, 8)
    assert warp.flip is not None
    assert warp.flip.dtype == np.bool_
    assert abs(warp.flip.mean() - 0.5) < 0.03
    assert (warp.crop, warp.affine) == (None, None)


def test_a_vertical_flip_turns_rows_and_nothing_else() -> None:
    images = np.arange(4 * 6 * 5 * 2, dtype=np.uint8).reshape(4, 6, 5, 2)
    warp = Augmentation(vertical_flip=True).draw(0, 0, INDEX, 6, 5)
    assert warp.affine is not None
    turned = warp.affine[:, 0, 0] == -1
    assert abs(turned.mean() - 0.5) < 0.03
    neutral = np.abs(warp.affine) == np.eye(2, 3)
    assert neutral.all()
    y = staged(images, warp.rows(slice(0, 4)))
    for row in range(4):
        expected = images[row, ::-1] if turned[row] else images[row]
        np.testing.assert_array_equal(y[row], expected)


def test_beside_a_vertical_flip_shifts_are_whole_pixels() -> None:
    affine = Augmentation(vertical_flip=True, shift=0.125).draw(0, 0, INDEX, 32, 17).affine
    assert affine is not None
    crop = Augmentation(shift=0.125).draw(0, 0, INDEX, 32, 17).crop
    np.testing.assert_array_equal(affine[:, :, 2], crop)


def staged(images: Any, warp: Warp) -> Any:
    ops = Context(get_device("numpy")).ops
    return ops.input_stage(images, np.zeros(2), np.ones(2), **vars(warp))


def test_draws_depend_on_the_sample_alone() -> None:
    whole = EVERYTHING.draw(7, 3, INDEX, 20, 30)
    order = np.random.default_rng(0).permutation(INDEX)
    part = EVERYTHING.draw(7, 3, order[100:200], 20, 30)
    assert whole.affine is not None
    assert whole.flip is not None
    assert whole.affine.dtype == np.float32
    np.testing.assert_array_equal(part.affine, whole.affine[order[100:200]])
    np.testing.assert_array_equal(part.flip, whole.flip[order[100:200]])
    rows = whole.rows(slice(5, 9))
    np.testing.assert_array_equal(rows.affine, whole.affine[5:9])
    assert rows.crop is None


@pytest.mark.parametrize(("seed", "epoch"), [(7, 4), (8, 3)])
def test_seeds_and_epochs_differ(seed: int, epoch: int) -> None:
    first, other = EVERYTHING.draw(7, 3, INDEX, 8, 8), EVERYTHING.draw(seed, epoch, INDEX, 8, 8)
    assert first.affine is not None
    assert (first.affine != other.affine).mean() > 0.99
    assert first.flip is not None
    assert 0.45 < (first.flip != other.flip).mean() < 0.55


def test_one_setting_does_not_change_anothers_draws() -> None:
    alone = Augmentation(horizontal_flip=True).draw(0, 0, INDEX, 8, 8)
    for more in (EVERYTHING, STRONG):
        np.testing.assert_array_equal(more.draw(0, 0, INDEX, 8, 8).flip, alone.flip)
    both = changes_of(STRONG)
    for name in ("erasing", "mixup"):
        only = changes_of(Augmentation(**{name: getattr(STRONG, name)}))
        if name == "erasing":
            np.testing.assert_array_equal(only.erase, both.erase)
        else:
            assert only.mix is not None
            assert both.mix is not None
            np.testing.assert_array_equal(only.mix.share, both.mix.share)


def test_the_default_draws_what_it_always_did() -> None:
    """Runs of earlier versions are repeated with the same bits."""
    light = Augmentation(horizontal_flip=True, shift=0.0625)
    warp = light.draw(5, 3, INDEX, 128, 96)
    uniform = Philox(5, "augment", 3).uniform(INDEX, 3).astype(float)
    assert warp.affine is None
    np.testing.assert_array_equal(warp.flip, uniform[:, 0] < 0.5)
    expected = np.floor(uniform[:, 1:] * (17, 13)) - (8, 6)
    np.testing.assert_array_equal(warp.crop, expected)
    assert light.draw_changes(5, 3, INDEX, (128, 96, 3)) is None


# ---- What came later --------------------------------------------------------------------------


def changes_of(augmentation: Augmentation, channels: int = 3) -> Changes:
    changes = augmentation.draw_changes(0, 0, INDEX, (20, 30, channels))
    assert changes is not None
    return changes


def test_a_random_crop_fills_the_image_with_a_part_of_it() -> None:
    affine = Augmentation(random_crop=0.25).draw(0, 0, INDEX, 40, 60).affine
    assert affine is not None
    assert (affine[:, [0, 1], [1, 0]] == 0).all()
    down, across = affine[:, 0, 0], affine[:, 1, 1]
    assert max(down.max(), across.max()) <= 1
    area = down * across
    assert 0.249 < area.min() < 0.26
    assert area.max() > 0.97
    free = (down < 1) & (across < 1)
    aspect = (across / down)[free]
    assert 0.749 < aspect.min() < 0.77
    assert 1.3 < aspect.max() < 1.334
    # the part lies within the image, and anywhere in it
    for share, offset, side in ((down, affine[:, 0, 2], 40), (across, affine[:, 1, 2], 60)):
        room = (1 - share) * side / 2
        assert (np.abs(offset) <= room + 1e-4).all()
        assert abs(np.corrcoef(offset, room)[0, 1]) < 0.06
        assert (np.abs(offset) > 0.9 * room).mean() == pytest.approx(0.1, abs=0.03)


def test_a_crop_is_what_the_warp_then_bends() -> None:
    both = Augmentation(random_crop=0.25, rotation=30.0).draw(0, 0, INDEX, 40, 60).affine
    crop = Augmentation(random_crop=0.25).draw(0, 0, INDEX, 40, 60).affine
    turn = Augmentation(rotation=30.0).draw(0, 0, INDEX, 40, 60).affine
    assert both is not None
    assert crop is not None
    assert turn is not None
    np.testing.assert_allclose(both[:, :, :2], crop[:, :, :2] @ turn[:, :, :2], atol=1e-5)
    np.testing.assert_allclose(both[:, :, 2], crop[:, :, 2], atol=1e-5)


def test_a_vertical_flip_turns_whatever_warps() -> None:
    one = Augmentation(random_crop=0.3, trivial_augment=True)
    two = Augmentation(random_crop=0.3, trivial_augment=True, vertical_flip=True)
    plain, flipped = (each.draw(0, 0, INDEX, 20, 20).affine for each in (one, two))
    assert plain is not None
    assert flipped is not None
    turned = (plain[:, :, 0] != flipped[:, :, 0]).any(1)
    assert 0.4 < turned.mean() < 0.6
    np.testing.assert_array_equal(flipped[turned][:, :, 0], -plain[turned][:, :, 0])
    np.testing.assert_array_equal(flipped[..., 1:], plain[..., 1:])


def test_changes_of_colour() -> None:
    changes = changes_of(Augmentation(brightness=0.3))
    assert changes.about_mean is None
    assert changes.colour is not None
    factors = changes.colour[:, 0, 0]
    np.testing.assert_array_equal(changes.colour, factors[:, None, None] * np.eye(3))
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3
    contrast = changes_of(Augmentation(contrast=0.3))
    assert contrast.about_mean is not None
    assert contrast.colour is not None
    # grey goes to the mean grey, and a mean that is grey stays
    np.testing.assert_allclose((contrast.colour + contrast.about_mean).sum(2), 1, atol=1e-6)
    for quiet in (changes, contrast):
        assert (quiet.filters, quiet.tone, quiet.erase, quiet.mix) == (None,) * 4


def test_a_policy_has_filters_and_tones() -> None:
    for policy in ({"rand_augment": 9}, {"trivial_augment": True}):
        changes = changes_of(Augmentation(**policy), channels=1)
        assert changes.filters is not None
        assert changes.tone is not None
        assert changes.colour is not None
        assert changes.colour.shape == (len(INDEX), 1, 1)


def test_erasing_has_its_probability() -> None:
    boxes = changes_of(Augmentation(erasing=0.3)).erase
    assert boxes is not None
    assert abs((boxes[:, 2] > boxes[:, 0]).mean() - 0.3) < 0.03


def test_changes_depend_on_the_sample_alone() -> None:
    whole = changes_of(STRONG)
    some = np.array([17, 3, 2048, 5])
    part = STRONG.draw_changes(0, 0, some, (20, 30, 3))
    assert part is not None
    assert part.mix is not None
    assert whole.mix is not None
    for name in ("filters", "colour", "about_mean", "tone", "erase"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[some])
    for name in ("share", "box", "weight"):
        np.testing.assert_array_equal(getattr(part.mix, name), getattr(whole.mix, name)[some])
    other = STRONG.draw_changes(0, 1, some, (20, 30, 3))
    assert other is not None
    assert other.mix is not None
    assert (other.mix.share != part.mix.share).any()


def test_nothing_asked_is_nothing_drawn() -> None:
    warp = Augmentation().draw(0, 0, INDEX, 8, 8)
    assert (warp.crop, warp.flip, warp.affine) == (None, None, None)
    assert not Augmentation()
    assert EVERYTHING
    settings = "shift rotation shear zoom random_crop brightness contrast saturation hue erasing"
    for name in [*settings.split(), "mixup", "cutmix"]:
        assert Augmentation(**{name: 0.5})
    assert Augmentation(rand_augment=1)
    assert Augmentation(trivial_augment=True)
    assert Augmentation().draw_changes(0, 0, INDEX, (8, 8, 3)) is None
    assert Augmentation(vertical_flip=True)


def test_config_round_trip_through_json() -> None:
    config = json.loads(json.dumps(EVERYTHING.to_config()))
    assert Augmentation.from_config(config) == EVERYTHING
    assert Augmentation.from_config(json.loads(json.dumps(STRONG.to_config()))) == STRONG
    assert Augmentation.from_config({}) == Augmentation()


@pytest.mark.parametrize(
    "config", [None, [1], {"blur": 1}, {"zoom": 2.0}, {"zoom": "x"}, {"mixup": "x"}]
)
def test_damaged_config(config: object) -> None:
    with pytest.raises(CheckpointError, match="augmentation settings"):
        Augmentation.from_config(config)


@pytest.mark.parametrize(
    "setting",
    [
        {"shift": 1.0},
        {"shift": -0.1},
        {"rotation": 181.0},
        {"shear": 90.0},
        {"zoom": 1.0},
        {"zoom": math.nan},
        {"random_crop": 1.0},
        {"brightness": 1.5},
        {"contrast": -0.1},
        {"saturation": "much"},
        {"hue": 181.0},
        {"rand_augment": 31},
        {"rand_augment": 2.5},
        {"rand_augment_steps": 0},
        {"erasing": 1.1},
        {"mixup": 0.01},
        {"cutmix": math.inf},
    ],
)
def test_settings_out_of_range(setting: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"augmentation: {next(iter(setting))} must (lie|be)"):
        Augmentation(**setting)
    assert Augmentation(rotation=180.0).rotation == 180.0


def test_two_policies_are_refused() -> None:
    with pytest.raises(UsageError, match="rand_augment and trivial_augment; give one"):
        Augmentation(rand_augment=9, trivial_augment=True)
