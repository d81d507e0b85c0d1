"""Hashes of images: what is in them, and that nothing but the image decides."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from cpcnn.core.errors import UsageError
from cpcnn.data import decode
from cpcnn.data.duplicates.near_duplicates import find_near_pairs
from cpcnn.data.duplicates.perceptual_hash import (
    CHROMA_SIDE,
    LUMA_SIDE,
    WORDS,
    chroma_of,
    hash_files,
    hash_images,
    luma_of,
)

SIZES = st.tuples(st.integers(1, 150), st.integers(1, 150))


def noise(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> Image.Image:
    """A picture without anything finer than a sixteenth of it, like a photograph from afar."""
    return Image.fromarray(noise((12, 12, 3), seed)).resize(
        (width, height), Image.Resampling.BICUBIC
    )


def naive_luma(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Luma of a grey image (H, W), squashed with the triangle filter, pixel by pixel."""

    def weights(size: int) -> NDArray[np.float64]:
        scale = size / LUMA_SIDE
        rows = []
        for target in range(LUMA_SIDE):
            row = [
                max(0.0, 1 - abs(pixel + 0.5 - (target + 0.5) * scale) / max(scale, 1.0))
                for pixel in range(size)
            ]
            rows.append(np.array(row) / sum(row))
        return np.array(rows)

    height, width = image.shape
    return weights(height) @ image @ weights(width).T


@settings(max_examples=25, deadline=None)
@given(size=SIZES, seed=st.integers(0, 99))
def test_luma_is_the_image_squashed_to_16_pixels(size: tuple[int, int], seed: int) -> None:
    height, width = (min(side, 128) for side in size)
    image = noise((height, width), seed)
    luma = luma_of(hash_images(image[np.newaxis, ..., np.newaxis]))
    expected = naive_luma(image).ravel()
    np.testing.assert_allclose(luma[0], expected, atol=0.6)


def test_a_hash_has_words_for_luma_and_for_colour() -> None:
    hashes = hash_images(noise((5, 28, 28, 3)))
    assert hashes.shape == (5, WORDS)
    assert hashes.dtype == np.uint64
    assert luma_of(hashes).shape == (5, LUMA_SIDE**2)
    assert chroma_of(hashes).shape == (5, 2 * CHROMA_SIDE**2)


@pytest.mark.parametrize(
    ("colour", "ycbcr"),
    [
        ((0, 0, 0), (0, 128, 128)),
        ((255, 255, 255), (255, 128, 128)),
        ((255, 0, 0), (76, 85, 255)),
        ((0, 255, 0), (150, 44, 21)),
        ((0, 0, 255), (29, 255, 107)),
    ],
)
def test_colours_are_those_of_jpeg(
    colour: tuple[int, int, int], ycbcr: tuple[int, int, int]
) -> None:
    hashes = hash_images(np.full((1, 20, 30, 3), colour, np.uint8))
    assert np.abs(luma_of(hashes).astype(int) - ycbcr[0]).max() <= 1
    chroma = chroma_of(hashes).reshape(-1, 2).astype(int)
    assert np.abs(chroma - ycbcr[1:]).max() <= 1


def test_colour_lies_where_it_is_in_the_image() -> None:
    image = np.full((1, 32, 32, 3), 128, np.uint8)
    image[:, :16, 16:] = (255, 0, 0)
    chroma = chroma_of(hash_images(image)).reshape(CHROMA_SIDE, CHROMA_SIDE, 2)
    assert chroma[0, 3, 1] > 240
    assert chroma[3, 0].tolist() == [128, 128]


@settings(max_examples=20, deadline=None)
@given(size=SIZES)
def test_a_grey_image_has_the_hash_of_the_same_in_rgb(size: tuple[int, int]) -> None:
    grey = noise((2, *size, 1))
    np.testing.assert_array_equal(hash_images(grey), hash_images(np.repeat(grey, 3, axis=3)))


@settings(max_examples=20, deadline=None)
@given(size=SIZES, channels=st.sampled_from([1, 3]))
def test_images_do_not_depend_on_their_neighbours(size: tuple[int, int], channels: int) -> None:
    images = noise((7, *size, channels))
    alone = np.concatenate([hash_images(image[np.newaxis]) for image in images])
    np.testing.assert_array_equal(hash_images(images), alone)


def test_any_number_of_images_is_hashed() -> None:
    assert hash_images(np.empty((0, 8, 8, 3), np.uint8)).shape == (0, WORDS)
    images = noise((300, 4, 4, 1))
    np.testing.assert_array_equal(hash_images(images)[256:], hash_images(images[256:]))


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 0, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match="images"):
        hash_images(images)


# ---- Files -----------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Images of several sizes, kinds and odd names, 70 of one size, and three that are bad."""
    made = []
    for number in range(70):
        made.append(tmp_path / f"{number}.png")
        Image.fromarray(noise((9, 11, 3), number)).save(made[-1])
    for name, size in (("-v.png", (300, 40)), ("line\nbreak.png", (20, 20)), ('"q".png', (1, 1))):
        made.append(tmp_path / name)
        smooth(*size).save(made[-1])
    made.append(tmp_path / "grey.png")
    Image.fromarray(noise((30, 30))).save(made[-1])
    made.append(tmp_path / "empty.png")
    made[-1].touch()
    made.append(tmp_path / "cut.png")
    made[-1].write_bytes((tmp_path / "0.png").read_bytes()[:-40])
    made.append(tmp_path / "missing.png")
    return made


def test_files_have_the_hashes_of_what_is_in_them(files: list[Path]) -> None:
    hashes, ok = hash_files(files, workers=2)
    assert ok.tolist() == [True] * (len(files) - 3) + [False] * 3
    assert not hashes[-3:].any()
    for path, value in zip(files[:-3], hashes, strict=False):
        np.testing.assert_array_equal(hash_images(decode(path, 3)[np.newaxis])[0], value)


def test_the_number_of_workers_does_not_matter(files: list[Path]) -> None:
    alone, three = hash_files(files, workers=1), hash_files(files, workers=3)
    np.testing.assert_array_equal(alone[0], three[0])
    np.testing.assert_array_equal(alone[1], three[1])


def test_progress_runs_to_the_end(files: list[Path]) -> None:
    told: list[tuple[int, int]] = []
    hash_files(files, workers=2, progress=lambda done, total: told.append((done, total)))
    assert told == [(64, len(files)), (len(files), len(files))]


def test_no_files_have_no_hashes() -> None:
    hashes, ok = hash_files([], workers=2)
    assert hashes.shape == (0, WORDS)
    assert ok.shape == (0,)


@pytest.mark.parametrize("size", [(900, 700), (1031, 517), (257, 1200)])
def test_a_large_jpeg_may_be_decoded_at_a_fraction(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "photo.jpg"
    smooth(*size).save(path, quality=95)
    hashes, _ = hash_files([path], workers=1)
    full = hash_images(decode(path, 3)[np.newaxis])
    apart = np.abs(luma_of(hashes).astype(int) - luma_of(full))
    assert apart.mean() <= 1.5
    assert find_near_pairs(np.concatenate([full, hashes])).tolist() == [[0, 1]]


def test_a_photograph_is_upright(tmp_path: Path) -> None:
    upright, turned = tmp_path / "upright.jpg", tmp_path / "turned.jpg"
    picture = smooth(600, 400)
    picture.save(upright, quality=95)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.transpose(Image.Transpose.ROTATE_90).save(turned, quality=95, exif=exif)
    hashes, _ = hash_files([upright, turned], workers=1)
    luma = luma_of(hashes).astype(int)
    assert np.abs(luma[0] - luma[1]).max() <= 3
