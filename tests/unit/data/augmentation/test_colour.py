"""Colour as matrices, against Pillow's way image by image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from cpcnn.data.augmentation.colour import LUMA, ColourMaps

IMAGE = np.random.default_rng(0).integers(60, 180, (7, 9, 3)).astype(np.uint8)


def mapped(maps: ColourMaps, image: Any) -> Any:
    """Apply the maps of one image."""
    mean = image.reshape(-1, image.shape[-1]).mean(0)
    return np.clip(image @ maps.matrix[0].T + maps.about_mean[0] @ mean, 0, 255)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.3])
@pytest.mark.parametrize(
    ("name", "of_pillow"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_pillow_does_the_same(name: str, of_pillow: Any, factor: float) -> None:
    maps = getattr(ColourMaps.identity(1, 3), name)(np.array([factor]))
    expected = np.asarray(of_pillow(Image.fromarray(IMAGE)).enhance(factor))
    assert np.abs(mapped(maps, IMAGE) - expected).max() <= 1.5  # it rounds greys to whole numbers


@pytest.mark.parametrize("degrees", [-180.0, -35.0, 20.0, 120.0])
def test_hue_turns_about_grey_and_keeps_luma(degrees: float) -> None:
    maps = ColourMaps.identity(1, 3).hue(np.array([degrees]))
    matrix = maps.matrix[0]
    np.testing.assert_allclose(matrix @ np.ones(3), 1, atol=1e-12)
    np.testing.assert_allclose(LUMA @ matrix, LUMA, atol=1e-12)
    back = maps.hue(np.array([-degrees])).matrix[0]
    np.testing.assert_allclose(back, np.eye(3), atol=1e-12)


def test_a_third_of_a_turn_goes_from_red_towards_green_or_blue() -> None:
    red = np.array([200.0, 30.0, 30.0])
    turned = [ColourMaps.identity(1, 3).hue(np.array([d])).matrix[0] @ red for d in (-120.0, 120.0)]
    assert {int(np.argmax(colour)) for colour in turned} == {1, 2}


def test_changes_follow_each_other() -> None:
    """One matrix of four changes is four changes, the mean of each being that of its input."""
    steps: list[Callable[[ColourMaps], ColourMaps]] = [
        lambda maps: maps.brightness(np.array([1.1])),
        lambda maps: maps.contrast(np.array([0.6])),
        lambda maps: maps.saturation(np.array([1.2])),
        lambda maps: maps.contrast(np.array([1.3])),
    ]
    together, image = ColourMaps.identity(1, 3), IMAGE.astype(float)
    for step in steps:
        together = step(together)
        image = mapped(step(ColourMaps.identity(1, 3)), image)
    assert 0 < image.min() < image.max() < 255  # nothing was clipped on the way
    np.testing.assert_allclose(mapped(together, IMAGE.astype(float)), image, atol=1e-9)


def test_grey_images_have_brightness_and_contrast() -> None:
    maps = ColourMaps.identity(2, 1).brightness(np.array([0.5, 1.5])).contrast(np.array([0.5, 1]))
    np.testing.assert_allclose(maps.matrix[:, 0, 0], [0.25, 1.5])
    np.testing.assert_allclose(maps.about_mean[:, 0, 0], [0.25, 0])
    for same in (maps.saturation(np.array([0.0, 2.0])), maps.hue(np.array([40.0, 90.0]))):
        np.testing.assert_allclose(same.matrix, maps.matrix)
        np.testing.assert_allclose(same.about_mean, maps.about_mean)
