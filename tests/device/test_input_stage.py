"""The input stage against slicing, mirroring and a pixel-by-pixel warp, on every device."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.devices import Device, get_device
from cpcnn.testing import check_op

IMAGES = Philox(0, "images").words(np.arange(4 * 6 * 5 * 3))[:, 0].astype(np.uint8)
IMAGES = IMAGES.reshape(4, 6, 5, 3)
MEAN, STD = np.array([120.0, 100.0, 80.0]), np.array([60.0, 50.0, 40.0])
PLAIN = (np.zeros(3), np.ones(3))


def affine(matrix: Any, shift: Any = (0, 0), n: int = 4) -> NDArray[np.float64]:
    one = np.concatenate([np.array(matrix, float), np.array(shift, float)[:, None]], axis=1)
    return np.broadcast_to(one, (n, 2, 3)).copy()


def slow_warp(image: Any, matrix: Any) -> Any:
    """The definition, pixel by pixel: bilinear, the nearest edge pixel beyond the border."""
    height, width, _ = image.shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    out = np.zeros(image.shape)
    for i, j in np.ndindex(height, width):
        place = matrix[:, :2] @ (np.array([i, j]) - middle) + matrix[:, 2] + middle
        r, c = min(max(place[0], 0), height - 1), min(max(place[1], 0), width - 1)
        top, left = math.floor(r), math.floor(c)
        for row, down in ((top, 1 - (r - top)), (min(top + 1, height - 1), r - top)):
            for column, across in ((left, 1 - (c - left)), (min(left + 1, width - 1), c - left)):
                out[i, j] += down * across * image[row, column]
    return out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["uint8", "float32", "int64"])
def test_normalisation(call: Callable[..., Any], dtype: str, kind: str) -> None:
    images = IMAGES.astype(kind)
    found = call("input_stage", images, MEAN, STD, dtype=dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, (IMAGES - MEAN) / STD, atol=1e-6)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=4, max_size=4),
    st.one_of(st.none(), st.lists(st.booleans(), min_size=4, max_size=4)),
)
def test_crops_are_mirrored_and_flips_turn_around(
    call: Callable[..., Any], offsets: Any, flips: Any
) -> None:
    found = call(
        "input_stage", IMAGES, *PLAIN,
        crop=np.array(offsets, np.int32), flip=None if flips is None else np.array(flips),
    )  # fmt: skip
    for k, (top, left) in enumerate(offsets):
        padded = np.pad(IMAGES[k], ((9, 9), (9, 9), (0, 0)), "reflect")
        expected = padded[9 + top :, 9 + left :][:6, :5]
        if flips is not None and flips[k]:
            expected = expected[:, ::-1]
        assert np.array_equal(found[k], expected)


def test_a_flip_alone(call: Callable[..., Any]) -> None:
    found = call("input_stage", IMAGES, *PLAIN, flip=np.array([True, False, True, False]))
    assert np.array_equal(found[::2], IMAGES[::2, :, ::-1])
    assert np.array_equal(found[1::2], IMAGES[1::2])


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_right_angles_are_exact(call: Callable[..., Any], turns: int) -> None:
    square = IMAGES[:, :5]
    matrix = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns)
    found = call("input_stage", square, *PLAIN, affine=affine(matrix))
    assert np.array_equal(found, np.rot90(square, turns, axes=(1, 2)))


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (3, 2), (-9, 9)])
def test_whole_translations_are_exact(call: Callable[..., Any], shift: Any) -> None:
    found = call("input_stage", IMAGES, *PLAIN, affine=affine(np.eye(2), shift))
    padded = np.pad(IMAGES, ((0, 0), (9, 9), (9, 9), (0, 0)), "edge")
    expected = padded[:, 9 + shift[0] :, 9 + shift[1] :][:, :6, :5]
    assert np.array_equal(found, expected)


def test_half_a_pixel_is_the_mean_of_two(call: Callable[..., Any]) -> None:
    found = call("input_stage", IMAGES, *PLAIN, affine=affine(np.eye(2), (0.5, 0)))
    wide = IMAGES.astype(float)
    expected = (wide + np.concatenate([wide[:, 1:], wide[:, -1:]], axis=1)) / 2
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "float64"])
def test_any_warp_is_the_definition(call: Callable[..., Any], kind: str) -> None:
    numbers = Philox(0, "warp").normal((4, 2, 3)).astype(np.float64)
    matrices = affine(np.eye(2)) + numbers * [0.4, 0.4, 2.0]
    found = call("input_stage", IMAGES.astype(kind), *PLAIN, affine=matrices, dtype="float64")
    for image, matrix, warped in zip(IMAGES, matrices, found, strict=True):
        np.testing.assert_allclose(warped, slow_warp(image, matrix), atol=1e-9)


def test_a_flip_comes_before_the_warp(call: Callable[..., Any]) -> None:
    matrices = affine([[0.9, -0.3], [0.2, 1.1]], (0.4, -0.7))
    found = call(
        "input_stage", IMAGES, *PLAIN, affine=matrices, flip=np.ones(4, bool), dtype="float64"
    )
    for image, warped in zip(IMAGES, found, strict=True):
        expected = slow_warp(image, matrices[0])[:, ::-1]
        np.testing.assert_allclose(warped, expected, atol=1e-9)


@pytest.mark.parametrize("shape", [(3, 1, 1, 1), (3, 1, 7, 2), (3, 5, 1, 3)])
def test_images_of_one_row_or_column(call: Callable[..., Any], shape: Any) -> None:
    images = IMAGES.reshape(-1)[: int(np.prod(shape))].reshape(shape)
    plain = (np.zeros(shape[3]), np.ones(shape[3]))
    crop = np.array([[0, 0], [3, 0], [0, 3]], np.int32)
    found = call("input_stage", images, *plain, crop=crop)
    assert np.array_equal(found[0], images[0])
    found = call("input_stage", images, *plain, affine=affine(np.eye(2), (0.5, 0.5), n=3))
    assert np.isfinite(found).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [4, 1, 23])
def test_the_input_stage_keeps_the_contract_of_ops(device: Device, dtype: str, batch: int) -> None:
    images = np.resize(IMAGES, (batch, 6, 5, 3))
    flip = np.arange(batch) % 3 == 0
    crop = np.stack([np.arange(batch) % 5 - 2, np.arange(batch) % 7 - 3], axis=1).astype(np.int32)
    numbers = Philox(0, "warp").normal((batch, 2, 3))
    matrices = affine(np.eye(2), n=batch) + numbers / 8
    for warp in ({}, {"flip": flip}, {"crop": crop, "flip": flip}, {"affine": matrices}):
        check_op(device, "input_stage", images, MEAN, STD, **warp, dtype=dtype)


def warps(count: int) -> dict[str, Any]:
    """One of every warp for `count` images."""
    flip = np.arange(count) % 3 == 0
    crop = np.stack([np.arange(count) % 5 - 2, np.arange(count) % 7 - 3], axis=1).astype(np.int32)
    matrices = affine(np.eye(2), n=count) + Philox(0, "warp").normal((count, 2, 3)) / 8
    return {"crop": crop, "flip": flip, "affine": matrices}


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 3), max_size=9),
    st.sets(st.sampled_from(["crop", "flip", "affine"])),
    st.sampled_from(["int32", "int64"]),
)
def test_an_index_chooses_the_images(
    call: Callable[..., Any], index: list[int], names: set[str], kind: str
) -> None:
    rows = np.array(index, kind)
    warp = {name: value for name, value in warps(len(index)).items() if name in names}
    found = call("input_stage", IMAGES, MEAN, STD, **warp, index=rows)
    assert np.array_equal(found, call("input_stage", IMAGES[rows], MEAN, STD, **warp))


@pytest.mark.parametrize("index", [[0, -1], [4]])
def test_an_index_of_no_image_is_refused_on_the_cpu(index: list[int]) -> None:
    ctx = Context(get_device("cpu", threads=1))
    with pytest.raises(IndexError):
        ctx.ops.input_stage(IMAGES, MEAN, STD, index=np.array(index))


def test_a_map_that_is_no_number_gives_none_on_the_cpu() -> None:
    matrices = affine(np.eye(2))
    matrices[1, 0, 2], matrices[2, 1, 0], matrices[3] = np.nan, np.nan, [[1e300] * 3] * 2
    ctx = Context(get_device("cpu", threads=1))
    found = ctx.ops.input_stage(IMAGES, MEAN, STD, affine=matrices)
    assert np.isnan(found[1:3]).all()
    assert np.isfinite(found[::3]).all()


@pytest.mark.parametrize("channels", [None, 3, 4, 8])
def test_channels_beyond_the_images_are_zero(call: Callable[..., Any], channels: Any) -> None:
    found = call("input_stage", IMAGES, MEAN, STD, **warps(4), channels=channels)
    assert found.shape == (4, 6, 5, channels or 3)
    assert np.array_equal(found[..., :3], call("input_stage", IMAGES, MEAN, STD, **warps(4)))
    assert not found[..., 3:].any()


@pytest.mark.parametrize("channels", [0, 2])
def test_fewer_channels_than_the_images_have(call: Callable[..., Any], channels: int) -> None:
    with pytest.raises(UsageError, match=f"3 channels do not fit {channels}"):
        call("input_stage", IMAGES, MEAN, STD, channels=channels)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 5, 90])
def test_chosen_and_widened_images_keep_the_contract_of_ops(
    device: Device, dtype: str, count: int
) -> None:
    """90 images of 8 channels are more than one piece of work."""
    index = np.arange(count) * 7 % 4
    for warp in ({}, warps(count)):
        for channels in (None, 8):
            check_op(
                device, "input_stage", IMAGES, MEAN, STD,
                **warp, index=index, channels=channels, dtype=dtype,
            )  # fmt: skip
