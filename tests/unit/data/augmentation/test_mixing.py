"""MixUp, CutMix and random erasing: shares, boxes and how they are distributed."""

from __future__ import annotations

import numpy as np
import pytest

from cpcnn.core.random import Philox
from cpcnn.data.augmentation.boxes import cut_boxes, erased_boxes
from cpcnn.data.augmentation.changes import Changes, Mix
from cpcnn.data.augmentation.mixing import draw_mix, symmetric_beta

INDEX = np.arange(20_000)
RANDOM = Philox(5, "augment/mix", 2)


def areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


@pytest.mark.parametrize("alpha", [0.05, 0.2, 1.0, 1.7, 8.0, 100.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    drawn = symmetric_beta(RANDOM, INDEX, alpha)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # the first four moments of Beta(alpha, alpha)
    moments, product = [], 1.0
    for k in range(4):
        product *= (alpha + k) / (2 * alpha + k)
        moments.append(product)
    for power, moment in enumerate(moments, 1):
        assert (drawn**power).mean() == pytest.approx(moment, abs=0.012)
    if alpha == 1.0:  # even on [0, 1]
        assert (
            np.abs(np.quantile(drawn, np.linspace(0.1, 0.9, 9)) - np.linspace(0.1, 0.9, 9)).max()
            < 0.02
        )


def test_shares_depend_on_the_sample_alone() -> None:
    whole, part = draw_mix(RANDOM, INDEX, 0.3, 1.0, 20, 30), INDEX[::-3]
    found = draw_mix(RANDOM, part, 0.3, 1.0, 20, 30)
    for name in ("share", "box", "weight"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)[::-3])


def test_mixup_mixes_all_of_the_image() -> None:
    mix = draw_mix(RANDOM, INDEX, 0.4, 0.0, 20, 30)
    assert (mix.box == (0, 0, 20, 30)).all()
    assert np.array_equal(mix.share, mix.weight)
    assert (mix.share.dtype, mix.box.dtype) == (np.float32, np.int32)


def test_cutmix_fills_boxes_and_counts_what_is_left() -> None:
    mix = draw_mix(RANDOM, INDEX, 0.0, 1.0, 20, 30)
    assert (mix.share == 0).all()
    assert (mix.box >= 0).all()
    assert (mix.box <= (20, 30, 20, 30)).all()
    np.testing.assert_allclose(mix.weight, 1 - areas(mix.box) / 600, atol=1e-6)
    assert 0.5 < mix.weight.mean() < 0.75  # boxes are cut off at the border


def test_with_both_each_gets_half_of_the_images() -> None:
    mix = draw_mix(RANDOM, INDEX, 0.4, 1.0, 20, 30)
    assert abs((mix.share == 0).mean() - 0.5) < 0.02


def test_a_cut_box_has_the_aspect_of_the_image() -> None:
    middle = np.full((2, 5), 0.5)
    boxes, left = cut_boxes(middle, np.array([1.0, 0.75, 0.5, 0.36, 0.0]), 40, 80)
    assert boxes[0].tolist()[2:] == boxes[0].tolist()[:2]
    assert boxes[1].tolist() == [10, 20, 30, 60]
    assert boxes[4].tolist() == [0, 0, 40, 80]
    np.testing.assert_allclose(left[[0, 1, 3, 4]], [1, 0.75, 0.36, 0])


def test_the_last_image_is_mixed_with_the_first() -> None:
    ones, box = np.ones(3, np.float32), np.zeros((3, 4), np.int32)
    mix = Mix(ones, box, np.array([0.5, 0.4, 0.9], np.float32))
    assert mix.partner.tolist() == [1, 2, 0]
    assert mix.mixed_labels(np.array([7, 8, 9])).tolist() == [7, 9, 9]
    changes = Changes(erase=box, mix=mix).rows(slice(1, 3))
    assert changes.mix is not None
    assert changes.mix.partner.tolist() == [1, 0]
    assert changes.erase is not None
    assert len(changes.erase) == 2
    assert changes.colour is None


def test_erased_boxes_lie_in_the_image() -> None:
    uniform = RANDOM.uniform(INDEX, 4).astype(float).T
    boxes = erased_boxes(uniform, np.ones(len(INDEX), bool), 40, 60)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] <= (40, 60)).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    share = areas(boxes) / 2400
    assert 0.012 < share.min() < 0.02
    assert 0.37 < share.max() < 0.42
    ratio = (boxes[:, 2] - boxes[:, 0]) / (boxes[:, 3] - boxes[:, 1])
    assert 0.2 < ratio.min() < 0.4
    assert 2.5 < ratio.max() < 4.0
    # all over the image: the corners are reached as well as the middle
    for axis, side in ((0, 40), (1, 60)):
        assert boxes[:, axis].min() == 0
        assert boxes[:, axis + 2].max() == side


def test_what_is_not_chosen_has_an_empty_box() -> None:
    uniform = np.full((4, 3), 0.5)
    boxes = erased_boxes(uniform, np.array([True, False, True]), 8, 8)
    assert areas(boxes).tolist()[1] == 0
    assert (areas(boxes)[[0, 2]] > 0).all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (2, 3)])
def test_small_images_have_boxes_too(height: int, width: int) -> None:
    uniform = RANDOM.uniform(INDEX[:500], 4).astype(float).T
    boxes = erased_boxes(uniform, np.ones(500, bool), height, width)
    assert (boxes[:, 2:] <= (height, width)).all()
    assert (areas(boxes) >= 1).all()
    mix = draw_mix(RANDOM, INDEX[:500], 0.2, 1.0, height, width)
    assert (mix.box[:, 2:] <= (height, width)).all()
    assert (mix.weight >= 0).all()
