"""Mean colour, autocontrast, equalize and sharpness: the same bits on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

from cpcnn.core.errors import UsageError

PLAIN, AUTOCONTRAST, EQUALIZE = (0, 0, 256), (1, 0, 256), (0, 1, 256)

cases = st.tuples(
    st.integers(1, 4), st.sampled_from([1, 2, 7, 20]), st.sampled_from([1, 3, 9, 17]),
    st.sampled_from([1, 2, 3]),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
told = st.tuples(st.integers(0, 1), st.integers(0, 1), st.integers(0, 512))


def photograph(seed: int, height: int = 30, width: int = 41) -> NDArray[np.uint8]:
    """A picture of dull colours, with edges."""
    rng = np.random.default_rng(seed)
    image = rng.normal(110, 18, (height, width, 3))
    image[height // 3 :, width // 4 : width // 2] += 40
    return np.clip(image, 30, 200).astype(np.uint8)


@settings(max_examples=25)
@given(cases, st.lists(told, min_size=4, max_size=4), st.integers(1, 256), st.booleans())
def test_filters_are_the_definition(
    call: Callable[..., Any], case: Any, settings_: Any, values: int, gathers: bool
) -> None:
    n, height, width, channels, seed = case
    rng = np.random.default_rng(seed)
    images = rng.integers(0, values, (n, height, width, channels)).astype(np.uint8)
    index = rng.integers(0, n, 3) if gathers else None
    count = n if index is None else len(index)
    wanted = np.array(settings_[:count], np.int32)
    wanted = np.resize(wanted, (count, 3))
    given_index = {} if index is None else {"index": index}
    found = call("filter_images", images, wanted, **given_index)
    assert found.dtype == np.uint8
    chosen = images if index is None else images[index]
    for image, options, result in zip(chosen, wanted, found, strict=True):
        assert np.array_equal(result, slowly(image, *options))


def slowly(image: Any, autocontrast: int, equalize: int, sharpness: int) -> Any:
    """The definition, value by value."""
    planes = [image[..., c].astype(int) for c in range(image.shape[2])]
    if autocontrast:
        planes = [stretched(plane) for plane in planes]
    if equalize:
        planes = [equalized(plane) for plane in planes]
    return np.stack([sharpened(plane, sharpness) for plane in planes], axis=-1).astype(np.uint8)


def stretched(plane: Any) -> Any:
    span = plane.max() - plane.min()
    return plane if span == 0 else (255 * (plane - plane.min()) + span // 2) // span


def equalized(plane: Any) -> Any:
    step = (plane.size - (plane == plane.max()).sum()) // 255
    if step == 0:
        return plane
    below = np.array([(plane < value).sum() for value in range(256)])
    return np.minimum((below + step // 2) // step, 255)[plane]


def sharpened(plane: Any, sharpness: int) -> Any:
    result = plane.copy()
    for i in range(1, plane.shape[0] - 1):
        for j in range(1, plane.shape[1] - 1):
            here = plane[i, j]
            smooth = (plane[i - 1 : i + 2, j - 1 : j + 2].sum() + 4 * here + 6) // 13
            value = (256 * smooth + sharpness * (here - smooth) + 128) // 256
            result[i, j] = min(max(value, 0), 255)
    return result


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("wanted", "of_pillow", "off"),
    [
        (AUTOCONTRAST, ImageOps.autocontrast, 1),  # which drops what is behind the point
        (EQUALIZE, ImageOps.equalize, 0),
        ((0, 0, 80), lambda image: ImageEnhance.Sharpness(image).enhance(80 / 256), 1),
        ((0, 0, 450), lambda image: ImageEnhance.Sharpness(image).enhance(450 / 256), 1),
    ],
)
def test_pillow_does_the_same(
    call: Callable[..., Any], seed: int, wanted: Any, of_pillow: Any, off: int
) -> None:
    image = photograph(seed)
    found = call("filter_images", image[None], np.array([wanted], np.int32))
    expected = np.asarray(of_pillow(Image.fromarray(image)))
    assert np.abs(found[0].astype(int) - expected).max() <= off


def test_what_is_not_asked_for_stays(call: Callable[..., Any]) -> None:
    images = np.stack([photograph(0), photograph(1)])
    found = call("filter_images", images, np.array([PLAIN, EQUALIZE], np.int32))
    assert np.array_equal(found[0], images[0])
    assert not np.array_equal(found[1], images[1])


def test_other_types_are_refused(call: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"take uint8 images, not .*float32"):
        call("filter_images", np.zeros((1, 3, 3, 1), np.float32), np.array([PLAIN], np.int32))


@settings(max_examples=25)
@given(cases, st.booleans(), st.booleans())
def test_means_are_exact(call: Callable[..., Any], case: Any, gathers: bool, floats: bool) -> None:
    n, height, width, channels, seed = case
    rng = np.random.default_rng(seed)
    images: Any = rng.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    images = images.astype(np.float32) if floats else images
    index = rng.integers(0, n, 3) if gathers else None
    found = call("mean_colour", images, **({} if index is None else {"index": index}))
    chosen = images if index is None else images[index]
    expected = (chosen.astype(float).sum((1, 2)) / (height * width)).astype(np.float32)
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)
