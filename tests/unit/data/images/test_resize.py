import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cpcnn.core.errors import UsageError
from cpcnn.data.images.resize import RESIZE_MODES, resize


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    random = np.random.default_rng(height * 1000 + width)
    return random.integers(0, 256, (height, width, channels), dtype=np.uint8)


@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 24), st.integers(1, 24)),
    channels=st.sampled_from([1, 3]),
    mode=st.sampled_from(RESIZE_MODES),
)
def test_shape_and_range(
    size: tuple[int, int], target: tuple[int, int], channels: int, mode: str
) -> None:
    image = noise(*size, channels) // 2
    result = resize(image, *target, mode)
    assert result.shape == (*target, channels)
    assert result.dtype == np.uint8
    assert result.max() <= max(image.max(), 128 if mode == "pad" else 0)


@pytest.mark.parametrize("mode", RESIZE_MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 999)])
def test_extreme_sizes_of_one_colour(size: tuple[int, int], mode: str) -> None:
    result = resize(np.full((*size, 3), 77, np.uint8), 20, 30, mode)
    assert result.shape == (20, 30, 3)
    assert set(np.unique(result)) == ({77, 128} if mode == "pad" and size != (20, 30) else {77})


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_an_image_of_the_right_size_is_unchanged(mode: str) -> None:
    image = noise(9, 11)
    np.testing.assert_array_equal(resize(image, 9, 11, mode), image)


def test_squash_is_pillows_antialiased_bilinear() -> None:
    image = noise(50, 40)
    expected = Image.fromarray(image).resize((16, 12), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize(image, 12, 16, "squash"), np.asarray(expected))


def test_it_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 1), np.uint8)
    stripes[:, ::2] = 255
    result = resize(stripes, 8, 8, "squash")
    np.testing.assert_allclose(result, 127.5, atol=5)


def test_crop_is_scaling_and_cutting_out_the_centre() -> None:
    image = noise(40, 80)
    scaled = np.asarray(Image.fromarray(image).resize((40, 20), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(
        resize(image, 20, 20, "crop").astype(int), scaled[:, 10:30].astype(int), atol=1
    )
    np.testing.assert_allclose(
        resize(image, 20, 30, "crop").astype(int), scaled[:, 5:35].astype(int), atol=1
    )


def test_crop_enlarges_small_images() -> None:
    image = np.zeros((4, 8, 1), np.uint8)
    image[:, 2:6] = 200
    assert (resize(image, 8, 8, "crop")[:, 2:6] == 200).all()


def test_pad_fits_and_centres() -> None:
    image = np.full((10, 20, 3), 5, np.uint8)
    result = resize(image, 20, 20, "pad")
    assert (result[5:15] == 5).all()
    assert (result[:5] == 128).all()
    assert (result[15:] == 128).all()
    tall = resize(np.full((30, 10, 1), 5, np.uint8), 12, 12, "pad")
    assert (tall[:, 4:8] == 5).all()
    assert (tall[:, :4] == 128).all()


def test_unknown_modes_are_named() -> None:
    with pytest.raises(UsageError, match="'stretch'; expected one of crop, pad, squash"):
        resize(noise(4, 4), 2, 2, "stretch")
