import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cpcnn.core.errors import DataError, UsageError
from cpcnn.data import reading as reading_module
from cpcnn.data.array_dataset import ArrayDataset
from cpcnn.data.dataset import ImageDataset
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.layouts.folder import scan_folder

Plant = Callable[[dict[str, int]], Path]

SMALL = Preprocessing(8, 8, 1)


def dataset(root: Path, **options: int) -> ImageDataset:
    folder = scan_folder(root)
    return ImageDataset(folder.splits["all"], folder.classes, SMALL, **options)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make tasks of two images each, so that a few files are many tasks."""
    monkeypatch.setattr(reading_module, "LARGEST_CHUNK", 2)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("workers", [0, 1, 4])
@pytest.mark.parametrize("limit", [None, 0])
def test_images_in_memory_or_not(plant: Plant, workers: int, limit: int | None) -> None:
    data = dataset(plant({"cat": 5, "dog": 4}), memory_limit=limit)
    expected = np.stack([SMALL.load(sample.path) for sample in data.samples])
    data.prepare(workers=workers)
    assert data.in_memory == (limit is None)
    assert len(data) == 9
    assert data.image_shape == (8, 8, 1)
    np.testing.assert_array_equal(data.labels, [0] * 5 + [1] * 4)
    index = np.array([8, 0, 3, 3])
    np.testing.assert_array_equal(data.gather(index), expected[index])
    np.testing.assert_array_equal(data.gather(index[:0]), expected[:0])
    mean, std = data.measure()
    np.testing.assert_allclose([mean, std], [[expected.mean()], [expected.std()]])


def test_what_is_gathered_is_a_copy(plant: Plant) -> None:
    data = dataset(plant({"cat": 1, "dog": 1}))
    data.prepare()
    before = data.gather(np.arange(2))
    data.gather(np.arange(2))[:] = 0
    np.testing.assert_array_equal(data.gather(np.arange(2)), before)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("limit", [None, 0])
def test_bad_files_are_skipped_in_order(plant: Plant, limit: int | None) -> None:
    root = plant({"cat": 6, "dog": 3})
    good = dataset(root)
    good.prepare()
    bad = [root / "cat" / "1.png", root / "cat" / "5.png", root / "dog" / "6.png"]
    for path in bad:
        path.write_bytes(b"not an image")
    data = dataset(root, memory_limit=limit)
    data.prepare(workers=3, on_error="skip")
    assert [error.path for error in data.bad] == bad
    assert "begins with b'not an image'" in data.bad[0].reason
    kept = [sample.path.stem for sample in data.samples]
    assert kept == ["0", "2", "3", "4", "7", "8"]
    np.testing.assert_array_equal(data.labels, [0, 0, 0, 0, 1, 1])
    np.testing.assert_array_equal(
        data.gather(np.arange(6)), good.gather(np.array([0, 2, 3, 4, 7, 8]))
    )
    data.check_classes()


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("limit", [None, 0])
def test_digests_are_those_of_the_files_that_are_left(plant: Plant, limit: int | None) -> None:
    root = plant({"cat": 5, "dog": 3})
    (root / "cat" / "1.png").write_bytes(b"not an image")
    data = dataset(root, memory_limit=limit)
    data.prepare(workers=3, digests=True)
    contents = [sample.path.read_bytes() for sample in data.samples]
    assert len(contents) == 7
    assert data.digests == tuple(hashlib.sha256(content).hexdigest() for content in contents)
    data.prepare()
    assert data.digests == ()


def test_bad_files_are_refused_by_name(plant: Plant) -> None:
    root = plant({"cat": 14, "dog": 1})
    for number in range(12):
        (root / "cat" / f"{number}.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        dataset(root).prepare(on_error="fail")
    message = str(caught.value)
    assert message.startswith("12 of 15 files cannot be read as images:\n")
    assert message.count("it is empty (0 bytes)") == 10
    assert "and 2 more" in message
    assert "skipped" in message


def test_nothing_is_written_into_the_folder(plant: Plant) -> None:
    root = plant({"cat": 2, "dog": 2})
    (root / "cat" / "0.png").write_bytes(b"bad")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    dataset(root).prepare()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_no_image_left(plant: Plant) -> None:
    root = plant({"cat": 1, "dog": 1})
    for path in root.rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of 2 files can be read as an image"):
        dataset(root).prepare(on_error="skip")
    with pytest.raises(DataError, match="there are no images"):
        ImageDataset([], ["cat"], SMALL).prepare()


def test_a_class_without_readable_images(plant: Plant) -> None:
    root = plant({"cat": 1, "dog": 2})
    (root / "cat" / "0.png").write_bytes(b"")
    data = dataset(root)
    data.prepare()
    with pytest.raises(DataError, match=r"no image to train on: cat\. .*: cat 0, dog 2"):
        data.check_classes()


@pytest.mark.usefixtures("small_chunks")
def test_progress_is_told_in_the_callers_thread(plant: Plant) -> None:
    calls: list[tuple[int, int]] = []
    threads = set()

    def progress(done: int, total: int) -> None:
        calls.append((done, total))
        threads.add(threading.current_thread())

    dataset(plant({"cat": 4, "dog": 5})).prepare(workers=2, progress=progress)
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (9, 9)
    assert threads == {threading.current_thread()}


@pytest.mark.usefixtures("small_chunks")
def test_an_interrupt_leaves_no_thread(plant: Plant) -> None:
    data = dataset(plant({"cat": 20, "dog": 20}))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        data.prepare(workers=2, progress=interrupt)
    assert threading.active_count() == before
    assert not data.in_memory
    assert len(data) == 40


@pytest.mark.usefixtures("small_chunks")
def test_an_unforeseen_error_arrives(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("unforeseen")

    data = dataset(plant({"cat": 2, "dog": 2}))
    monkeypatch.setattr(Preprocessing, "load", fail)
    with pytest.raises(RuntimeError, match="unforeseen"):
        data.prepare(workers=2)


def test_unknown_classes_and_choices(plant: Plant) -> None:
    folder = scan_folder(plant({"cat": 1, "dog": 1}))
    with pytest.raises(DataError, match=r"unknown classes: dog\. Known are: cat\."):
        ImageDataset(folder.splits["all"], ["cat"], SMALL)
    with pytest.raises(UsageError, match="'ignore'"):
        dataset(folder.root).prepare(on_error="ignore")


# ---- Arrays -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        np.array([2, 0, 1], np.uint8),
        np.array([2.0, 0.0, 1.0], np.float32),
        [[2], [0], [1]],
        [[0, 0, 1], [1, 0, 0], [0, 1, 0]],
        np.eye(3, dtype=bool)[[2, 0, 1]],
    ],
)
def test_arrays_with_labels_of_all_kinds(labels: object) -> None:
    images = np.arange(3 * 2 * 2 * 1, dtype=np.float32).reshape(3, 2, 2, 1)
    data = ArrayDataset(images, labels)
    np.testing.assert_array_equal(data.labels, [2, 0, 1])
    assert data.labels.dtype == np.int64
    assert data.classes == ("0", "1", "2")
    assert (len(data), data.image_shape, data.in_memory) == (3, (2, 2, 1), True)
    gathered = data.gather(np.array([1, 1]))
    assert gathered.dtype == np.float32
    np.testing.assert_array_equal(gathered, images[[1, 1]])


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((3, 4, 4), [0, 1, 2], r"shape \(N, H, W, C\), not \(3, 4, 4\)\. Grey images"),
        ((3, 4, 4, 1), [0, 1], "3 images, but 2 labels"),
        ((2, 4, 4, 1), [0, -1], "not negative"),
        ((2, 4, 4, 1), [0.0, 0.5], "whole"),
        ((2, 4, 4, 1), ["cat", "dog"], "class numbers or one-hot rows, not <U3"),
        ((2, 4, 4, 1), [[0.5, 0.5], [0, 1]], "one-hot rows"),
        ((2, 4, 4, 1), [[1, 1], [0, 1]], "one-hot rows"),
        ((2, 4, 4, 1), [[[1]], [[0]]], r"not \(2, 1, 1\)"),
        ((2, 4, 4, 1), [0, 7], "labels name 8 classes, but 3 are given"),
    ],
)
def test_arrays_that_do_not_fit(shape: tuple[int, ...], labels: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ArrayDataset(np.zeros(shape), labels, classes=["a", "b", "c"])
