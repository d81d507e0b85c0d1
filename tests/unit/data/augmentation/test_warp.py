from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.data.augmentation.warp import FILL_MODES, warp_images
from cpcnn.devices import get_device

PADS: dict[str, Literal["edge", "constant", "symmetric", "wrap"]] = {
    "nearest": "edge",
    "constant": "constant",
    "reflect": "symmetric",
    "wrap": "wrap",
}


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(0, 256, shape, dtype=np.uint8)


def affine(matrix: Any, offset: Any = (0.0, 0.0), count: int = 1) -> np.ndarray:
    one = np.concatenate([np.array(matrix, float), np.array(offset, float)[:, np.newaxis]], axis=1)
    return np.broadcast_to(one.astype(np.float32), (count, 2, 3))


def places(matrix: Any, offset: Any, height: int, width: int) -> np.ndarray:
    """Where every output pixel is read: (2, H, W), from the definition."""
    grid = np.stack(np.meshgrid(np.arange(height), np.arange(width), indexing="ij")).astype(float)
    centre = np.array([(height - 1) / 2, (width - 1) / 2])[:, np.newaxis, np.newaxis]
    turned = np.einsum("ij,jhw->ihw", np.array(matrix, float), grid - centre)
    return turned + np.array(offset, float)[:, np.newaxis, np.newaxis] + centre


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize("mode", FILL_MODES)
def test_quarter_turns_are_exact(mode: str, side: int, order: int) -> None:
    images = noise(2, side, side, 3)
    for turns in range(4):
        matrix = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns)
        warped = warp_images(images, affine(matrix, count=2), fill_mode=mode, order=order)
        np.testing.assert_array_equal(warped, np.rot90(images, -turns, axes=(1, 2)))


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("mode", FILL_MODES)
def test_whole_shifts_continue_the_image_as_the_mode_says(mode: str, order: int) -> None:
    images = noise(1, 5, 7, 2)
    reach = 17  # more than twice round
    values = {"constant_values": 9} if mode == "constant" else {}
    padded = np.pad(images[0], ((reach,) * 2, (reach,) * 2, (0, 0)), PADS[mode], **values)  # type: ignore[call-overload]
    for down, right in [(0, 0), (1, -2), (-5, 7), (16, -17), (-11, 13)]:
        warped = warp_images(
            images, affine(np.eye(2), (down, right)), fill_mode=mode, cval=9.0, order=order
        )
        rows, columns = reach + down, reach + right
        np.testing.assert_array_equal(warped[0], padded[rows : rows + 5, columns : columns + 7])


@given(
    shift=st.tuples(st.floats(-12, 12), st.floats(-12, 12)),
    mode=st.sampled_from([mode for mode in FILL_MODES if mode != "constant"]),
)
def test_between_pixels_the_continued_image_is_interpolated(
    shift: tuple[float, float], mode: str
) -> None:
    offset = np.array(shift, np.float32).astype(float)
    images, reach = noise(1, 4, 6, 1), 14
    padded = np.pad(images[0, :, :, 0], reach, PADS[mode]).astype(float)
    low = np.floor(offset).astype(int)
    down, right = offset - low
    expected = np.zeros((4, 6))
    for i, j, share in [
        (0, 0, (1 - down) * (1 - right)),
        (0, 1, (1 - down) * right),
        (1, 0, down * (1 - right)),
        (1, 1, down * right),
    ]:
        top, left = reach + low[0] + i, reach + low[1] + j
        expected += share * padded[top : top + 4, left : left + 6]
    warped = warp_images(images, affine(np.eye(2), offset), fill_mode=mode)
    np.testing.assert_allclose(warped[0, :, :, 0], expected, atol=1e-3)


def test_constant_fills_all_that_lies_beyond_the_outermost_centres() -> None:
    images = noise(1, 4, 4, 1) // 2 + 1
    warped = warp_images(images, affine(np.eye(2), (0.25, 0.0)), fill_mode="constant", cval=-3.0)
    assert (warped[0, 3] == -3.0).all()
    assert (warped[0, :3] > 0.0).all()


MATRIX = st.tuples(*[st.floats(-1.5, 1.5)] * 4).map(lambda m: [[m[0], m[1]], [m[2], m[3]]])


@given(matrix=MATRIX, slope=st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_a_linear_ramp_is_warped_to_a_linear_ramp(
    matrix: list[list[float]], slope: tuple[float, float]
) -> None:
    height, width = 11, 14
    matrix = np.array(matrix, np.float32).astype(float).tolist()
    grid = np.mgrid[:height, :width]
    ramp = (slope[0] * grid[0] + slope[1] * grid[1])[np.newaxis, :, :, np.newaxis]
    rows, columns = places(matrix, (0, 0), height, width)
    inside = (rows >= 0) & (rows <= height - 1) & (columns >= 0) & (columns <= width - 1)
    expected = slope[0] * rows + slope[1] * columns
    for mode in FILL_MODES:
        warped = warp_images(ramp, affine(matrix), fill_mode=mode, dtype="float64")[0, :, :, 0]
        np.testing.assert_allclose(warped[inside], expected[inside], atol=1e-5)


@given(
    matrix=MATRIX,
    offset=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    flip=st.booleans(),
)
def test_the_host_warps_as_the_input_stage_does(
    matrix: Any, offset: tuple[float, float], size: tuple[int, int], flip: bool
) -> None:
    images, flips = noise(2, *size, 3), np.array([flip, not flip])
    warps = affine(matrix, offset, count=2)
    ctx = Context(get_device("numpy"))
    expected = ctx.ops.input_stage(images, np.zeros(3), np.ones(3), flip=flips, affine=warps)
    np.testing.assert_allclose(warp_images(images, warps, flips), expected, atol=1e-4)


def test_nothing_asked_is_a_cast_and_a_copy() -> None:
    images = noise(2, 3, 4, 1).astype(np.float32)
    warped = warp_images(images)
    np.testing.assert_array_equal(warped, images)
    assert warped.dtype == np.float32
    assert not np.shares_memory(warped, images)
    np.testing.assert_array_equal(
        warp_images(images, flip=np.array([True, False]))[0], images[0, :, ::-1]
    )


@pytest.mark.parametrize("option", [{"fill_mode": "mirror"}, {"order": 2}])
def test_options_that_cannot_be_meant(option: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="images are filled by nearest, constant, reflect, wrap"):
        warp_images(noise(1, 2, 2, 1), **option)
