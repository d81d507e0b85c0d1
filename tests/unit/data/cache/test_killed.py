"""Processes that write the same cache at once, and are killed at random moments."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cpcnn.data import ImageDataset, Preprocessing, scan_folder
from cpcnn.data.cache import ImageCache

WRITER = Path(__file__).with_name("writer.py")
SIZES = range(8, 40)
IMAGES_PER_CLASS = 40
LONGEST = 0.4  # seconds that a writer lives, of which it needs more for all sizes

Count = Callable[[int, str], None]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0)
    for name in ("cat", "dog"):
        folder = tmp_path / "images" / name
        folder.mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            pixels = noise.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "images"


def check_cache(cache_folder: Path, images: Path, sizes: list[int]) -> int:
    """See that every image in the cache is the right one, and return how many are there."""
    folder = scan_folder(images)
    (samples,) = folder.splits.values()
    found = 0
    for size in sizes:
        preprocessing = Preprocessing(size, size)
        cache = ImageCache(cache_folder)
        store = cache.store(preprocessing)
        assert store is not None
        digests = [bytes.fromhex(d) for d in _digests(images)]
        places = store.find(np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32))
        for sample, place in zip(samples, places.tolist(), strict=True):
            out = np.empty((size, size, 3), np.uint8)
            if place >= 0:
                assert store.read(place, out)
                np.testing.assert_array_equal(out, preprocessing.load(sample.path))
                found += 1
        store.release()
    return found


def _digests(images: Path) -> tuple[str, ...]:
    folder = scan_folder(images)
    (samples,) = folder.splits.values()
    data = ImageDataset(samples, folder.classes, Preprocessing(8, 8), kept="off")
    data.prepare(digests=True)
    return data.digests


def check_training(cache_folder: Path, images: Path, size: int) -> None:
    """See that a data set that uses the cache has the images of one that does not."""
    folder = scan_folder(images)
    (samples,) = folder.splits.values()
    batches = []
    for kept in ("off", "disk"):
        cache = ImageCache(cache_folder)
        data = ImageDataset(
            samples, folder.classes, Preprocessing(size, size), kept=kept, cache=cache
        )
        data.prepare(digests=True)
        batches.append((data.digests, data.gather(np.arange(len(data)))))
    assert batches[0][0] == batches[1][0]
    np.testing.assert_array_equal(batches[0][1], batches[1][1])


def start_writer(cache_folder: Path, images: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), str(cache_folder), str(images), str(seed)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    return process


def kill_again_and_again(tmp_path: Path, images: Path, kills: int, count: Count) -> None:
    cache_folder = tmp_path / "cache"
    moments = random.Random(kills)
    found = 0
    for number in range(kills):
        writers = [start_writer(cache_folder, images, 2 * number + k) for k in range(2)]
        try:
            time.sleep(moments.uniform(0, LONGEST))
        finally:
            for writer in writers:
                writer.send_signal(signal.SIGKILL)
                writer.communicate()
        sizes = moments.sample(list(SIZES), 4)
        found += check_cache(cache_folder, images, sizes)
        check_training(cache_folder, images, sizes[0])
    assert found
    count(2 * kills, "writers of the image cache killed")
    count(found, "cached images compared after a kill")


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_two_writers_are_killed(tmp_path: Path, images: Path, count: Count) -> None:
    kill_again_and_again(tmp_path, images, 2, count)


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL here")
def test_two_writers_are_killed_often(tmp_path: Path, images: Path, count: Count) -> None:
    kill_again_and_again(tmp_path, images, 60, count)
