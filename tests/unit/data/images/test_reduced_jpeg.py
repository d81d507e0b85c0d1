from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.data.images.decode import opened_image
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.images.reduced_jpeg import GAP, reduce_jpeg

ORIENTATION = 0x0112


def write_photo(
    path: Path, width: int, height: int, orientation: int = 1, mode: str = "RGB"
) -> Path:
    """Write a picture with large and small shapes, whose four corners differ."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    colours = [np.sin(7 * x + 3 * y), np.cos(5 * y - 2 * x), np.sin(23 * x * y) + x - y]
    pixels = np.stack([np.clip(128 + 90 * colour, 0, 255) for colour in colours], axis=-1)
    image = Image.fromarray(pixels.astype(np.uint8)).convert(mode)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(path, quality=95, exif=exif)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("photos")


@given(
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    orientation=st.integers(1, 8),
    mode=st.sampled_from(["crop", "pad", "squash"]),
    target=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    channels=st.sampled_from([1, 3]),
)
def test_close_to_the_full_decode(
    folder: Path,
    width: int,
    height: int,
    orientation: int,
    mode: str,
    target: tuple[int, int],
    channels: int,
) -> None:
    path = write_photo(folder / "any.jpg", width, height, orientation)
    full = Preprocessing(*target, channels, mode).load(path)
    reduced = Preprocessing(*target, channels, mode, jpeg="reduced").load(path)
    assert reduced.shape == full.shape
    difference = np.abs(full.astype(int) - reduced)
    assert difference.mean() < 3
    with opened_image(path) as image:
        if reduce_jpeg(image, *target, mode) is None:
            assert not difference.any()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["crop", "pad", "squash"])
def test_the_border_that_the_decoder_fills_up_is_left_out(
    folder: Path, orientation: int, mode: str
) -> None:
    """At an eighth, 801 pixels become 101, of which the last shows one pixel."""
    path = write_photo(folder / f"{orientation}.jpg", 801, 641, orientation)
    with opened_image(path) as image:
        left, upper, right, lower = reduce_jpeg(image, 30, 30, mode) or (0, 0, 0, 0)
    shown = (801 / 8, 641 / 8) if orientation < 5 else (641 / 8, 801 / 8)
    assert (right - left, lower - upper) == pytest.approx(shown)
    full = Preprocessing(30, 30, 3, mode).load(path).astype(int)
    reduced = Preprocessing(30, 30, 3, mode, jpeg="reduced").load(path)
    assert np.abs(full - reduced).mean() < 1
    assert np.abs(full - reduced).max() < 12


@pytest.mark.parametrize(
    ("size", "target", "scale"),
    [((320, 240), 112, 1), ((450, 450), 112, 2), ((896, 896), 112, 4), ((2000, 1850), 112, 8)],
)
def test_as_far_as_enough_is_left(
    folder: Path, size: tuple[int, int], target: int, scale: int
) -> None:
    path = write_photo(folder / "large.jpg", *size)
    with opened_image(path) as image:
        region = reduce_jpeg(image, target, target, "crop")
        decoded = image.size
    assert decoded == tuple(-(-side // scale) for side in size)
    assert (region is None) == (scale == 1)
    assert scale == 1 or min(decoded) >= GAP * target


@pytest.mark.parametrize("extension", ["png", "bmp", "webp", "tif"])
def test_other_formats_are_left_alone(folder: Path, extension: str) -> None:
    path = write_photo(folder / f"other.{extension}", 600, 400)
    full, reduced = (Preprocessing(20, 20, jpeg=jpeg).load(path) for jpeg in ("full", "reduced"))
    np.testing.assert_array_equal(full, reduced)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_jpegs_of_other_modes(folder: Path, mode: str) -> None:
    path = write_photo(folder / f"{mode}.jpg", 640, 480, mode=mode)
    full, reduced = (Preprocessing(40, 40, jpeg=jpeg).load(path) for jpeg in ("full", "reduced"))
    assert np.abs(full.astype(int) - reduced).mean() < 3


def test_the_config_says_which() -> None:
    reduced = Preprocessing(8, 8, jpeg="reduced")
    assert reduced.to_config()["jpeg"] == "reduced"
    assert Preprocessing.from_config(reduced.to_config()) == reduced
    old = Preprocessing(8, 8).to_config()
    assert "jpeg" not in old  # what older checkpoints hold
    assert Preprocessing.from_config(old).jpeg == "full"
    with pytest.raises(CheckpointError, match="jpeg must be one of full, reduced"):
        Preprocessing.from_config(old | {"jpeg": "half"})
    with pytest.raises(UsageError, match="jpeg must be one of"):
        Preprocessing(8, 8, jpeg="")
