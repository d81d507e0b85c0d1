"""The same augmentation is the same on every device, within the rounding of interpolation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.context import Context, Policy
from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.data import Augmentation, Batch
from cpcnn.devices import Device, get_device
from cpcnn.testing import check_op
from cpcnn.training.input_stage import to_input

from .conftest import FencedDevice

NEAR = 1e-2  # to a whole and a half, where a value may be rounded to either side

fractions = st.sampled_from([0.0, 0.3, 1.0])
policies = st.sampled_from(
    [{}, {"trivial_augment": True}, {"rand_augment": 9}, {"rand_augment": 30}]
)


def pictures(seed: int, n: int, height: int, width: int, channels: int) -> NDArray[np.uint8]:
    """Smooth images with noise: neighbours are alike, as in photographs."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width][..., None]
    waves = np.sin(rows * rng.uniform(0, 1, channels) + columns * rng.uniform(0, 1, channels))
    images = 128 + 90 * waves + rng.normal(0, 20, (n, height, width, channels))
    return np.clip(images, 0, 255).astype(np.uint8)


def batch_of(augmentation: Augmentation, images: NDArray[np.uint8], seed: int, epoch: int) -> Batch:
    index = np.arange(len(images)) + 3
    return Batch(
        images,
        np.zeros(len(images), np.int64),
        index,
        augmentation.draw(seed, epoch, index, *images.shape[1:3]),
        changes=augmentation.draw_changes(seed, epoch, index, images.shape[1:]),
    )


def on(device: Device, batch: Batch, preprocessing: Any, dtype: str = "float32") -> NDArray[Any]:
    ctx = Context(device, training=True, policy=Policy(compute=dtype))
    with device.scope():
        return np.array(device.get(to_input(ctx, batch, preprocessing)))


def unsure(batch: Batch) -> NDArray[np.bool_]:
    """Where the step of a posterized or solarized value depends on its last bits: (B, H, W, 1)."""
    changes = batch.changes
    assert changes is not None
    if changes.tone is None:
        return np.zeros((*batch.images.shape[:3], 1), bool)
    before = replace(changes, tone=None, erase=None, mix=None)
    values = on(get_device("numpy"), replace(batch, changes=before), None, "float64")
    near = (np.abs(values - np.floor(values) - 0.5) < NEAR).any(-1, keepdims=True)
    near &= (changes.tone != (256, 1)).any(1)[:, None, None, None]
    return near if changes.mix is None else near | near[changes.mix.partner]


@settings(max_examples=25)
@given(
    policies, st.sampled_from([0.0, 0.4]), fractions, st.sampled_from([0.0, 0.5]),
    st.sampled_from([0.0, 40.0]), st.sampled_from([0.0, 0.2, 1.0]), st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 25.0]), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 4), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_every_device_makes_the_same_of_an_augmentation(
    device: Device, policy: dict[str, Any], crop: float, erasing: float, jitter: float, hue: float,
    mixup: float, cutmix: float, rotation: float, channels: int, height: int, width: int, n: int,
    seed: int,
) -> None:  # fmt: skip
    augmentation = Augmentation(
        horizontal_flip=True, shift=0.2, rotation=rotation, random_crop=crop, brightness=jitter,
        contrast=jitter, saturation=jitter, hue=hue, erasing=erasing, mixup=mixup, cutmix=cutmix,
        **policy,
    )  # fmt: skip
    batch = batch_of(augmentation, pictures(seed, n, height, width, channels), seed, 1)
    scale = {"mean": [120.0, 90.0, 60.0][:channels], "std": [60.0, 50.0, 40.0][:channels]}
    expected = on(get_device("numpy"), batch, scale, "float64")
    found = on(device, batch, scale)
    assert found.dtype == np.float32
    sure = np.ones((*expected.shape[:3], 1), bool) if batch.changes is None else ~unsure(batch)
    np.testing.assert_allclose(found * sure, expected * sure, atol=1e-3 / 40)


def test_a_strong_augmentation_of_larger_images(device: Device) -> None:
    """Everything at once, on images whose rows are longer than a block of threads."""
    augmentation = Augmentation(
        horizontal_flip=True, random_crop=0.3, trivial_augment=True, erasing=0.5, mixup=0.5,
        cutmix=1.0,
    )  # fmt: skip
    batch = batch_of(augmentation, pictures(1, 6, 20, 300, 3), 5, 2)
    expected = on(get_device("numpy"), batch, None, "float64")
    sure = ~unsure(batch)
    assert sure.mean() > 0.9
    found = on(device, batch, None)
    np.testing.assert_allclose(found * sure, expected * sure, atol=2e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_nothing_is_written_or_read_beside_the_images(
    fenced_device: FencedDevice, channels: int
) -> None:
    augmentation = Augmentation(
        horizontal_flip=True, shift=0.3, rand_augment=20, erasing=0.5, mixup=0.5, cutmix=1.0
    )
    for height, width in ((1, 1), (2, 9), (9, 2), (13, 17)):
        images = pictures(3, 5, height, width, channels)
        batch = batch_of(augmentation, images, 8, 1)
        found = on(fenced_device, batch, None)
        fenced_device.check()
        assert np.isfinite(found).all()


# ---- What the op does, in numbers that can be followed ----------------------------------------

IMAGES = Philox(0, "images").words(np.arange(4 * 6 * 5 * 3))[:, 0].astype(np.uint8)
IMAGES = IMAGES.reshape(4, 6, 5, 3)
PLAIN = (np.zeros(3), np.ones(3))


def test_nothing_given_is_the_input_stage(call: Callable[..., Any]) -> None:
    mean, std = np.array([120.0, 100.0, 80.0]), np.array([60.0, 50.0, 40.0])
    found = call("augmented_input", IMAGES, mean, std, channels=4)
    np.testing.assert_allclose(found[..., :3], (IMAGES - mean) / std, atol=1e-6)
    assert not found[..., 3:].any()


def test_colours_are_mapped_and_clipped(call: Callable[..., Any]) -> None:
    colour = np.zeros((4, 3, 4), np.float32)
    colour[:, :, :3] = np.eye(3)[[2, 0, 1]] * 1.5
    colour[:, 1, 3] = -40
    found = call("augmented_input", IMAGES, *PLAIN, colour=colour)
    expected = 1.5 * IMAGES[..., [2, 0, 1]] - [0, 40, 0]
    np.testing.assert_allclose(found, np.clip(expected, 0, 255), atol=1e-4)


def test_tones_invert_and_round_down(call: Callable[..., Any]) -> None:
    tone = np.array([[256, 1], [128, 1], [256, 32], [100, 64]], np.float32)
    found = call("augmented_input", IMAGES, *PLAIN, tone=tone)
    wide = IMAGES.astype(int)
    assert np.array_equal(found[0], wide[0])
    assert np.array_equal(found[1], np.where(wide[1] >= 128, 255 - wide[1], wide[1]))
    assert np.array_equal(found[2], wide[2] // 32 * 32)
    assert np.array_equal(found[3], np.where(wide[3] >= 100, 255 - wide[3], wide[3]) // 64 * 64)


def test_boxes_are_erased(call: Callable[..., Any]) -> None:
    erase = np.array([[0, 0, 6, 5], [2, 1, 4, 3], [3, 3, 3, 5], [-2, -1, 2, 9]], np.int32)
    found = call("augmented_input", IMAGES, np.full(3, 9.0), np.ones(3), erase=erase)
    expected = IMAGES - 9.0
    expected[0] = 0
    expected[1, 2:4, 1:3] = 0
    expected[3, :2] = 0
    assert np.array_equal(found, expected)


def test_images_are_mixed_inside_their_boxes(call: Callable[..., Any]) -> None:
    flip = np.array([False, True, False, False])
    erase = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]], np.int32)
    partner = np.array([1, 2, 2, 0], np.int32)
    share = np.array([0.25, 0.0, 0.5, 0.75], np.float32)
    box = np.array([[0, 0, 6, 5], [1, 2, 5, 4], [0, 0, 6, 5], [-3, -3, 3, 99]], np.int32)
    found = call(
        "augmented_input", IMAGES, *PLAIN,
        flip=flip, erase=erase, partner=partner, share=share, box=box,
    )  # fmt: skip
    alone = IMAGES.astype(float)
    alone[1] = alone[1, :, ::-1]
    alone[2, 0, 0] = 0
    expected = alone.copy()
    expected[0] = 0.25 * alone[0] + 0.75 * alone[1]
    expected[1, 1:5, 2:4] = alone[2, 1:5, 2:4]  # that one erased, not mixed with itself
    expected[3, :3] = 0.75 * alone[3, :3] + 0.25 * alone[0, :3]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_gather_comes_before_all(call: Callable[..., Any]) -> None:
    index = np.array([3, 0, 3])
    given = {
        "colour": np.tile(np.eye(3, 4, dtype=np.float32) * 0.5, (3, 1, 1)),
        "partner": np.array([1, 0, 2], np.int32),
        "share": np.array([0.5, 0.5, 1.0], np.float32),
        "box": np.tile(np.array([0, 0, 6, 5], np.int32), (3, 1)),
    }
    found = call("augmented_input", IMAGES, *PLAIN, index=index, **given)
    expected = call("augmented_input", IMAGES[index], *PLAIN, **given)
    assert np.array_equal(found, expected)


def test_too_few_channels(call: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="images of 3 channels do not fit 2"):
        call("augmented_input", IMAGES, *PLAIN, channels=2)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_contract_of_ops(device: Device, channels: int) -> None:
    rng = np.random.default_rng(channels)
    n = 5
    check_op(
        device, "augmented_input", pictures(0, n, 7, 6, channels), rng.uniform(0, 200, channels),
        rng.uniform(20, 60, channels), flip=rng.random(n) < 0.5,
        affine=np.tile(np.eye(2, 3), (n, 1, 1)) + rng.normal(size=(n, 2, 3)) / 8,
        colour=rng.normal(0.3, 0.5, (n, channels, channels + 1)),
        erase=rng.integers(0, 6, (n, 4)).astype("int32"),
        partner=((np.arange(n) + 2) % n).astype("int32"), share=rng.random(n),
        box=np.sort(rng.integers(0, 6, (n, 2, 2)), axis=1).reshape(n, 4).astype("int32"),
        dtype="float32",
    )  # fmt: skip
