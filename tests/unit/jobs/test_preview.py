"""The contact sheet: which images are shown, and that they are what training sees."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.errors import DataError, UsageError
from cpcnn.data.array_dataset import ArrayDataset
from cpcnn.data.augmentation.augment import Augmentation
from cpcnn.data.augmentation.contact_sheet import GAP, LINE, draw_sheet, encode_png
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.data.loader import Loader
from cpcnn.jobs.preview import preview_files, preview_sheet, write_preview

SIDE = 100  # shown as it is
SCALE = Preprocessing(SIDE, SIDE, 3, mean=(100.0, 110.0, 120.0), std=(50.0, 60.0, 70.0))


def dataset(count: int = 12, channels: int = 3) -> ArrayDataset:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, SIDE, SIDE, channels)).astype(np.uint8)
    return ArrayDataset(images, np.arange(count) % 3, ("a", "b", "c"))


def cells(sheet: Any, rows: int, columns: int, side: int = SIDE) -> Any:
    """Cut a sheet into its images (rows, columns, side, side, 3)."""
    down, across = side + LINE + GAP, side + GAP
    assert sheet.shape == (rows * down + GAP, columns * across + GAP, 3)
    return np.stack(
        [
            [sheet[GAP + i * down :, GAP + j * across :][:side, :side] for j in range(columns)]
            for i in range(rows)
        ]
    )


def test_columns_are_what_the_epochs_of_a_training_make() -> None:
    data = dataset()
    augmentation = Augmentation(horizontal_flip=True, shift=0.1)
    found = cells(preview_sheet(data, augmentation, SCALE, rows=5, columns=4, seed=7), 5, 4)
    images: Any = data.images
    index = [
        int(np.argmax([np.array_equal(cell, image) for image in images])) for cell in found[:, 0]
    ]
    assert all(np.array_equal(found[k, 0], images[i]) for k, i in enumerate(index))
    assert [data.labels[i] for i in index] == [0, 1, 2, 0, 1]  # class after class
    for epoch in range(3):
        (batch,) = Loader(data, 12, seed=7, augmentation=augmentation).epoch(epoch)
        warp = batch.warp
        assert warp is not None
        assert warp.crop is not None
        assert warp.flip is not None
        for row, i in enumerate(index):
            top, left = warp.crop[i]
            image = np.pad(images[i], ((20, 20), (20, 20), (0, 0)), "reflect")
            image = image[20 + top :, 20 + left :][:SIDE, :SIDE]
            image = image[:, ::-1] if warp.flip[i] else image
            assert np.array_equal(found[row, epoch + 1], image)


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_without_augmentation_images_stay(device: str) -> None:
    sheet = preview_sheet(dataset(), Augmentation(), SCALE, rows=3, columns=3, device=device)
    found = cells(sheet, 3, 3)
    assert np.array_equal(found[:, 1], found[:, 0])
    assert np.array_equal(found[:, 2], found[:, 0])


def test_the_seed_draws_the_images() -> None:
    sheets = [
        preview_sheet(dataset(60), Augmentation(), SCALE, rows=3, columns=1, seed=seed)
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(sheets[0], sheets[1])
    assert not np.array_equal(sheets[0], sheets[2])


def test_there_may_be_fewer_images_than_rows() -> None:
    sheet = preview_sheet(dataset(2), Augmentation(), SCALE, rows=8, columns=2)
    cells(sheet, 2, 2)
    with pytest.raises(DataError, match="no images to show"):
        preview_sheet(dataset(0), Augmentation(), SCALE)


def test_grey_images_and_mixed_ones(tmp_path: Path) -> None:
    grey = Preprocessing(SIDE, SIDE, 1)
    strong = Augmentation(trivial_augment=True, erasing=1.0, mixup=0.4, cutmix=1.0)
    sheet = preview_sheet(dataset(channels=1), strong, grey, rows=3, columns=3)
    found = cells(sheet, 3, 3)
    assert np.array_equal(found[..., 0], found[..., 1])
    below = sheet[GAP + SIDE : GAP + SIDE + LINE]
    assert (below[:, : GAP + SIDE] < 128).any()  # the class of the first image
    assert (below[:, 2 * GAP + SIDE :] < 128).any()  # what is mixed


# ---- Files -----------------------------------------------------------------------------------


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Images of three classes, of names that are no good manners, and a broken one."""
    labels = [
        "plain",
        "two\nlines\x1b[31m",
        "caf\N{LATIN SMALL LETTER E WITH ACUTE} \N{CJK UNIFIED IDEOGRAPH-82B1}",
    ]
    found = []
    rng = np.random.default_rng(1)
    for number in range(9):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (60, 80, 3)).astype(np.uint8)).save(path)
        found.append(Sample(path, labels[number % 3]))
    (tmp_path / "0.png").write_bytes(b"no image")
    return found


def test_files_are_shown_in_the_size_of_a_training(samples: list[Sample]) -> None:
    sheet = preview_files(samples, Augmentation(erasing=1.0))
    # all are of 80 x 60 pixels, which stays, and are shown at twice the size
    assert sheet.shape == (8 * (120 + LINE + GAP) + GAP, 8 * (160 + GAP) + GAP, 3)
    first, second = (sheet[GAP : GAP + 120, GAP + k * (160 + GAP) :][:, :160] for k in (0, 1))
    assert first.std() > 20
    assert not np.array_equal(first, second)


def test_unreadable_files_are_passed_over(samples: list[Sample], tmp_path: Path) -> None:
    preprocessing = Preprocessing(SIDE, SIDE)
    sheet = preview_sheet(samples, Augmentation(), preprocessing, rows=20, columns=1)
    cells(sheet, 8, 1)
    with pytest.raises(DataError, match="no readable images"):
        preview_sheet(samples[:1], Augmentation(), preprocessing)


def test_a_sheet_is_a_new_png(tmp_path: Path) -> None:
    sheet = preview_sheet(dataset(), Augmentation(), SCALE, rows=2, columns=2)
    path = tmp_path / "sheet.png"
    write_preview(path, sheet)
    assert np.array_equal(np.asarray(Image.open(path)), sheet)
    with pytest.raises(UsageError, match="--preview: cannot write"):
        write_preview(path, sheet)


# ---- Drawing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "shown"),
    [((100, 100), (100, 100)), ((8, 8), (96, 96)), ((1, 50), (2, 100)), ((400, 200), (192, 96))],
)
def test_small_images_grow_and_large_ones_shrink(
    shape: tuple[int, int], shown: tuple[int, int]
) -> None:
    image = np.full((*shape, 1), 7, np.uint8)
    sheet = draw_sheet([[image]], [[""]])
    assert sheet.shape == (shown[0] + LINE + 2 * GAP, shown[1] + 2 * GAP, 3)
    assert (sheet[GAP : GAP + shown[0], GAP : GAP + shown[1]] == 7).all()


def test_texts_end_where_their_image_ends() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    sheet = draw_sheet([[image, image]], [["W" * 200, ""]])
    line = sheet[GAP + 100 : GAP + 100 + LINE]
    assert (line[:, GAP : GAP + 100] < 128).any()
    assert (line[:, GAP + 101 :] >= 128).all()
    assert encode_png(sheet) == encode_png(np.asarray(Image.open(BytesIO(encode_png(sheet)))))
