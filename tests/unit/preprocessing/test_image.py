import math
from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.preprocessing.image import ImageDataGenerator

RANDOM = np.random.default_rng(0)
IMAGE = RANDOM.integers(0, 256, (9, 12, 3)).astype(np.float32)
SQUARE = IMAGE[:, :9]


def test_a_rotation_by_90_degrees_is_exact() -> None:
    generator = ImageDataGenerator()
    for turns in (-1, 1, 2, 4):
        turned = generator.apply_transform(SQUARE, {"theta": 90.0 * turns})
        np.testing.assert_array_equal(turned, np.rot90(SQUARE, turns))


@pytest.mark.parametrize(("tx", "ty"), [(3, 0), (0, -2), (-1, 4)])
def test_shifts_read_from_the_right_and_from_below(tx: int, ty: int) -> None:
    shifted = ImageDataGenerator(fill_mode="constant", cval=-1.0).apply_transform(
        IMAGE, {"tx": tx, "ty": ty}
    )
    padded = np.pad(IMAGE, ((5, 5), (5, 5), (0, 0)), constant_values=-1.0)
    np.testing.assert_array_equal(shifted, padded[5 + ty : 14 + ty, 5 + tx : 17 + tx])


def test_flips_are_exact_and_come_after_the_warp() -> None:
    generator = ImageDataGenerator()
    flips = {"flip_horizontal": True, "flip_vertical": True}
    np.testing.assert_array_equal(generator.apply_transform(IMAGE, flips), IMAGE[::-1, ::-1])
    warp = {"theta": 20.0, "tx": 1.5, "zx": 0.8}
    both = generator.apply_transform(IMAGE, warp | flips)
    np.testing.assert_allclose(both, generator.apply_transform(IMAGE, warp)[::-1, ::-1], atol=1e-3)


def ramp(height: int, width: int) -> np.ndarray:
    """Columns in channel 0, rows in channel 1, both from the centre."""
    rows, columns = np.mgrid[:height, :width].astype(np.float64)
    return np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2], axis=-1)


def test_shear_of_a_ramp_is_in_degrees() -> None:
    image = ramp(21, 31)
    x, y = image[..., 0], image[..., 1]
    sheared = ImageDataGenerator(dtype="float64").apply_transform(image, {"shear": 15.0})
    angle = math.radians(15.0)
    inner = np.s_[:, 5:-5]
    np.testing.assert_allclose(sheared[..., 0][inner], (x - math.sin(angle) * y)[inner], atol=1e-5)
    np.testing.assert_allclose(sheared[..., 1], math.cos(angle) * y, atol=1e-5)


def test_zoom_of_a_ramp() -> None:
    image = ramp(20, 30)
    zoomed = ImageDataGenerator().apply_transform(image, {"zx": 0.7, "zy": 0.9})
    np.testing.assert_allclose(zoomed, image * [0.7, 0.9], atol=1e-5)


def test_channel_shift_and_brightness() -> None:
    generator = ImageDataGenerator()
    shifted = generator.apply_transform(IMAGE, {"channel_shift_intensity": 20.0})
    np.testing.assert_array_equal(shifted, np.clip(IMAGE + 20.0, IMAGE.min(), IMAGE.max()))
    bright = generator.apply_transform(IMAGE, {"brightness": 1.5})
    np.testing.assert_allclose(bright, np.minimum(IMAGE * 1.5, 255.0), rtol=1e-6)


def test_random_transforms_follow_the_seed_and_differ_without_one() -> None:
    options: dict[str, Any] = {"rotation_range": 20, "zoom_range": 0.2, "width_shift_range": 0.1}
    first, again = ImageDataGenerator(**options), ImageDataGenerator(**options)
    assert first.get_random_transform((8, 8, 3), 5) == again.get_random_transform((8, 8, 3), 5)
    assert first.get_random_transform((8, 8, 3), 6) != again.get_random_transform((8, 8, 3), 5)
    drawn = [first.get_random_transform((8, 8, 3)) for _ in range(3)]
    assert drawn == [again.get_random_transform((8, 8, 3)) for _ in range(3)]
    assert drawn[0] != drawn[1]
    np.testing.assert_array_equal(
        first.random_transform(IMAGE, 5),
        first.apply_transform(IMAGE, first.get_random_transform(IMAGE.shape, 5)),
    )


def test_zoom_range_is_a_number_or_two() -> None:
    for zoom, low, high in [
        (0.25, 0.75, 1.25),
        ([0.5, 0.6], 0.5, 0.6),
        (np.float32(0.5), 0.5, 1.5),
    ]:
        generator = ImageDataGenerator(zoom_range=zoom)
        drawn = [generator.get_random_transform((4, 4, 1), seed)["zx"] for seed in range(50)]
        assert low <= min(drawn) < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < max(drawn) <= high


def test_standardize_takes_one_image_or_several() -> None:
    generator = ImageDataGenerator(rescale=1 / 255, samplewise_center=True)
    one = generator.standardize(IMAGE)
    np.testing.assert_allclose(one, IMAGE / 255 - (IMAGE / 255).mean(), atol=1e-6)
    assert one.dtype == np.float32
    several = generator.standardize(np.stack([IMAGE, IMAGE[::-1] / 2]))
    np.testing.assert_array_equal(several[0], one)
    np.testing.assert_allclose(several.mean(axis=(1, 2, 3)), 0.0, atol=1e-6)


def test_fit_makes_featurewise_statistics_exact() -> None:
    images = RANDOM.integers(0, 256, (30, 6, 6, 3), dtype=np.uint8)
    generator = ImageDataGenerator(
        featurewise_center=True, featurewise_std_normalization=True, rescale=1 / 255
    )
    generator.fit(images)
    assert np.shape(generator.mean) == np.shape(generator.std) == (1, 1, 3)
    result = generator.standardize(images)
    np.testing.assert_allclose(result.mean(axis=(0, 1, 2)), 0.0, atol=1e-6)
    np.testing.assert_allclose(result.std(axis=(0, 1, 2)), 1.0, atol=1e-5)


def test_fit_may_measure_changed_images() -> None:
    images = RANDOM.integers(0, 100, (40, 4, 4, 1), dtype=np.uint8)
    generator = ImageDataGenerator(featurewise_center=True, brightness_range=(2.0, 2.0))
    generator.fit(images)
    plain = np.ravel(generator.mean)  # type: ignore[arg-type]
    generator.fit(images, augment=True, rounds=2)
    np.testing.assert_allclose(np.ravel(generator.mean), 2.0 * plain, rtol=1e-6)  # type: ignore[arg-type]
    moving = ImageDataGenerator(featurewise_center=True, width_shift_range=0.5)
    means = []
    for seed, rounds in [(1, 1), (1, 1), (2, 1), (1, 2)]:
        moving.fit(images, augment=True, rounds=rounds, seed=seed)
        means.append(float(np.ravel(moving.mean)[0]))  # type: ignore[arg-type]
    assert means[0] == means[1]
    assert len(set(means)) == 3


def test_statistics_may_be_set_by_hand() -> None:
    generator = ImageDataGenerator(featurewise_center=True)
    generator.mean = [100.0, 110.0, 120.0]
    np.testing.assert_allclose(generator.standardize(IMAGE), IMAGE - [100.0, 110.0, 120.0])


def test_zca_whitening_of_fitted_images() -> None:
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    images = RANDOM.normal(size=(200, 3, 2, 2))
    generator.fit(images)
    white = generator.standardize(images).reshape(200, -1)
    np.testing.assert_allclose(white.T @ white / 200, np.eye(12), atol=1e-3)
    assert np.shape(generator.zca_whitening_matrix) == (12, 12)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"fill_mode": "mirror"}, "fill_mode must be one of 'nearest'"),
        ({"interpolation_order": 3}, "interpolation_order must be one of 0, 1"),
        ({"data_format": "channels_first"}, "data_format must be one of None"),
        ({"dtype": "int8"}, "dtype must be one of 'float16'"),
        ({"validation_split": 1.0}, r"validation_split must lie in \[0, 1\)"),
        ({"zoom_range": (0.5, 1.0, 1.5)}, "zoom_range must be two numbers"),
        ({"brightness_range": 0.5}, "brightness_range must be two numbers"),
        ({"rotation_range": -3}, "rotation_range must be of finite numbers"),
        ({"zoom_range": -0.3}, "zoom_range must be a number from 0 on"),
        ({"rescale": "1/255"}, "rescale must be a finite number"),
        ({"cval": float("nan")}, "cval must be a finite number"),
        ({"validation_split": "0.2"}, "validation_split must lie in"),
        ({"preprocessing_function": 3}, "preprocessing_function must be a function"),
    ],
)
def test_options_that_cannot_be_meant(option: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImageDataGenerator(**option)


def test_arrays_of_the_wrong_shape() -> None:
    generator = ImageDataGenerator()
    with pytest.raises(UsageError, match="fit takes images of shape"):
        generator.fit(IMAGE)
    for images in ("images/train", None, (IMAGE[np.newaxis], [0])):
        with pytest.raises(UsageError, match="images must be an array of numbers"):
            generator.flow(images)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="standardize takes"):
        generator.standardize(IMAGE[0])
    with pytest.raises(UsageError, match="a transform is of one image"):
        generator.apply_transform(IMAGE[np.newaxis], {})
