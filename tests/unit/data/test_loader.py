import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.data.array_dataset import ArrayDataset
from cpcnn.data.augmentation.augment import Augmentation
from cpcnn.data.dataset import ImageDataset
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.loader import Batch, Loader

Plant = Callable[[dict[str, int]], Path]

AUGMENTATION = Augmentation(horizontal_flip=True, shift=0.2, rotation=10.0)


class SlowDataset(ArrayDataset):
    """Images that are not in memory, so that threads fetch them; records what they do."""

    in_memory = False

    def __init__(self, length: int, *, fails_at: int = -1) -> None:
        images = np.arange(length * 4, dtype=np.uint8).reshape(length, 2, 2, 1)
        super().__init__(images, np.arange(length) % 3)
        self.fails_at = fails_at
        self.gathered = 0

    def gather(self, index: np.ndarray) -> np.ndarray:
        time.sleep(0.001)
        self.gathered += 1
        if self.fails_at in index:
            raise OSError("the disk is gone")
        return super().gather(index)


def same(first: Batch, second: Batch) -> bool:
    warps = [(batch.warp.crop, batch.warp.flip, batch.warp.affine) for batch in (first, second)]
    return (
        np.array_equal(first.images, second.images)
        and np.array_equal(first.labels, second.labels)
        and np.array_equal(first.index, second.index)
        and all(np.array_equal(a, b) for a, b in zip(*warps, strict=True))
    )


@pytest.mark.parametrize("limit", [None, 0])
def test_batches_do_not_depend_on_the_number_of_workers(plant: Plant, limit: int | None) -> None:
    folder = scan_folder(plant({"cat": 13, "dog": 10}))
    epochs = []
    for workers in (0, 1, 4):
        data = ImageDataset(
            folder.splits["all"], folder.classes, Preprocessing(8, 8, 1), memory_limit=limit
        )
        data.prepare(workers=workers)
        loader = Loader(
            data, 4, shuffle=True, seed=5, augmentation=AUGMENTATION, workers=workers, prefetch=2
        )
        epochs.append([batch for epoch in range(2) for batch in loader.epoch(epoch)])
    assert len(epochs[0]) == 12
    for other in epochs[1:]:
        assert all(same(a, b) for a, b in zip(epochs[0], other, strict=True))


def test_the_order_is_philox_and_every_sample_comes_once() -> None:
    data = SlowDataset(23)
    loader = Loader(data, 5, shuffle=True, seed=9)
    batches = list(loader.epoch(3))
    assert (len(loader), loader.num_samples) == (5, 23)
    assert [len(batch) for batch in batches] == [5, 5, 5, 5, 3]
    index = np.concatenate([batch.index for batch in batches])
    np.testing.assert_array_equal(index, Philox(9, "shuffle", 3).permutation(23))
    np.testing.assert_array_equal(np.sort(index), np.arange(23))
    for batch in batches:
        np.testing.assert_array_equal(batch.images, data.images[batch.index])
        np.testing.assert_array_equal(batch.labels, data.labels[batch.index])
        assert batch.warp is None
    other = np.concatenate([batch.index for batch in loader.epoch(4)])
    assert (other != index).any()


def test_without_shuffling_the_order_is_the_datasets() -> None:
    batches = Loader(SlowDataset(7), 3).epoch(2)
    np.testing.assert_array_equal(np.concatenate([b.index for b in batches]), np.arange(7))


def test_an_empty_dataset_has_no_batches() -> None:
    loader = Loader(ArrayDataset(np.zeros((0, 2, 2, 1)), np.zeros(0, int)), 4, shuffle=True)
    assert len(loader) == 0
    assert list(loader.epoch(0)) == []


def test_warps_are_those_of_the_samples() -> None:
    loader = Loader(SlowDataset(9), 4, shuffle=True, seed=2, augmentation=AUGMENTATION)
    for batch in loader.epoch(1):
        expected = AUGMENTATION.draw(2, 1, batch.index, 2, 2)
        assert batch.warp is not None
        np.testing.assert_array_equal(batch.warp.affine, expected.affine)
        np.testing.assert_array_equal(batch.warp.flip, expected.flip)


def test_an_augmentation_that_does_nothing_gives_no_warp() -> None:
    batch = next(Loader(SlowDataset(3), 2, augmentation=Augmentation()).epoch(0))
    assert batch.warp is None


def test_it_reads_no_further_ahead_than_asked() -> None:
    data = SlowDataset(100)
    batches = Loader(data, 1, workers=4, prefetch=3).epoch(0)
    next(batches)
    time.sleep(0.1)
    assert data.gathered == 4
    batches.close()


@pytest.mark.parametrize("taken", [0, 1, 5])
def test_closing_early_leaves_no_thread(taken: int) -> None:
    before = threading.active_count()
    data = SlowDataset(50)
    batches = Loader(data, 1, workers=3, prefetch=4).epoch(0)
    for _ in range(taken):
        next(batches)
    batches.close()
    assert threading.active_count() == before
    assert data.gathered <= taken + 4


def test_no_thread_outlives_an_epoch() -> None:
    before = threading.active_count()
    assert sum(1 for _ in Loader(SlowDataset(20), 2, workers=3).epoch(0)) == 10
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_a_workers_exception_arrives_in_its_place(workers: int) -> None:
    before = threading.active_count()
    batches = Loader(SlowDataset(40, fails_at=21), 4, workers=workers).epoch(0)
    for _ in range(5):
        next(batches)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    assert threading.active_count() == before
    assert list(batches) == []


def test_the_interpreter_exits_with_an_epoch_unfinished() -> None:
    code = """
import numpy as np
from cpcnn.data import ArrayDataset, Loader
ArrayDataset.in_memory = False
data = ArrayDataset(np.zeros((100, 2, 2, 1)), np.zeros(100, int))
batches = Loader(data, 1, workers=4).epoch(0)
next(batches)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


@pytest.mark.parametrize("option", [{"workers": -1}, {"prefetch": 0}, {"batch_size": 0}])
def test_options_that_cannot_be_meant(option: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=f"loader: {next(iter(option))} must be a whole"):
        Loader(SlowDataset(3), **{"batch_size": 1, **option})
