import numpy as np
import pytest

from cpcnn.preprocessing.colour import change_brightness, shift_channels


def noise(low: float = 10.0, high: float = 240.0) -> np.ndarray:
    return np.random.default_rng(0).uniform(low, high, (3, 5, 4, 3)).astype(np.float32)


def test_channel_shift_adds_within_each_images_own_range() -> None:
    images, intensity = noise(), np.array([30.0, -25.5, 0.0])
    shifted = shift_channels(images, intensity)
    for image, before, number in zip(shifted, images, intensity, strict=True):
        expected = np.clip(before + np.float32(number), before.min(), before.max())
        np.testing.assert_array_equal(image, expected)
    assert shifted.dtype == np.float32


def test_brightness_multiplies_and_saturates() -> None:
    images, factor = noise(), np.array([0.5, 1.0, 1.75])
    bright = change_brightness(images, factor)
    expected = np.minimum(images * factor.astype(np.float32)[:, None, None, None], 255.0)
    np.testing.assert_allclose(bright, expected, rtol=1e-6)
    assert bright.dtype == np.float32
    np.testing.assert_array_equal(change_brightness(images, np.zeros(3)), np.zeros_like(images))


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (0.0, 1000.0)])
def test_brightness_of_values_outside_0_255_keeps_their_range(low: float, high: float) -> None:
    images = noise(low, high)
    for image, bright in zip(images, change_brightness(images, np.full(3, 1.5)), strict=True):
        least, most = image.min(), image.max()
        expected = np.minimum((image - least) * 1.5 + least, most)
        np.testing.assert_allclose(bright, expected, atol=1e-5 * (high - low))


def test_brightness_of_an_image_of_one_value_outside_0_255() -> None:
    flat = np.full((1, 2, 2, 1), -4.0, np.float32)
    np.testing.assert_array_equal(change_brightness(flat, np.array([1.5])), flat)


def test_the_images_given_are_not_changed() -> None:
    images = noise()
    shift_channels(images, np.ones(3))
    change_brightness(images, np.ones(3))
    np.testing.assert_array_equal(images, noise())
