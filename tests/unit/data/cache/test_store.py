from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cpcnn.data.cache import ImageStore, room
from cpcnn.data.cache import store as store_module
from cpcnn.data.cache.room import kept_files, make_room
from cpcnn.data.cache.segment import SegmentWriter, table_type

SHAPE = (4, 4, 1)
MIB = 1 << 20


def open_store(folder: Path, limit: int = 1 << 30, name: str = "store") -> ImageStore:
    return ImageStore(folder, name, name.encode(), SHAPE, limit)


def image_of(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, SHAPE, np.uint8)


def digest_of(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng([number, 1]).integers(0, 256, 32, np.uint8)


def add(store: ImageStore, *numbers: int) -> None:
    table = np.zeros(len(numbers), table_type(SHAPE[2]))
    table["sha256"] = [digest_of(number) for number in numbers]
    store.add(np.stack([image_of(number) for number in numbers]), table)


def found(store: ImageStore, *numbers: int) -> list[bool]:
    """Say which images the store has, and see that they are the right ones."""
    out = np.empty(SHAPE, np.uint8)
    places = store.find(np.stack([digest_of(number) for number in numbers]))
    has = []
    for number, place in zip(numbers, places.tolist(), strict=True):
        has.append(place >= 0 and store.read(place, out))
        if has[-1]:
            np.testing.assert_array_equal(out, image_of(number))
    return has


@pytest.fixture
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SEGMENT_BYTES", 4200)  # a page and a few images


def test_found_after_flush_and_by_the_next_process(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert found(store, 1, 2) == [False, False]
    add(store, 1)
    add(store, 2, 3)
    store.flush()
    assert found(store, 3, 2, 9, 1, 1) == [True, True, False, True, True]
    assert found(open_store(tmp_path), 1, 2, 3, 4) == [True, True, True, False]
    assert found(open_store(tmp_path, name="other"), 1) == [False]


@pytest.mark.usefixtures("small_segments")
def test_two_at_once(tmp_path: Path) -> None:
    first, second = open_store(tmp_path), open_store(tmp_path)

    def write(store: ImageStore, numbers: range) -> None:
        for number in numbers:
            add(store, number)

    threads = [
        threading.Thread(target=write, args=(store, numbers))
        for store, numbers in (
            (first, range(20)),
            (first, range(20, 40)),
            (second, range(10, 30)),
            (second, range(30, 50)),
        )
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first.flush()
    second.flush()
    both = open_store(tmp_path)
    assert all(found(both, *range(50)))
    assert len(os.listdir(tmp_path / "store")) > 4
    assert not first.problem
    assert all(found(first, *range(40)))


def test_a_prefix_that_is_shared_is_no_match(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    add(store, 1)
    store.flush()
    almost = digest_of(1)
    almost[31] ^= 1
    assert store.find(almost[np.newaxis]).tolist() == [-1]


# ---- Room ------------------------------------------------------------------------------------


@pytest.fixture
def sized(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that makes a file of the cache: its size in MiB, and its age."""

    def make(name: str, size: int, age: int) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size * MIB)
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
        return path

    return make


def test_the_least_recently_used_goes_first(tmp_path: Path, sized: Callable[..., Path]) -> None:
    old, older, new = (
        sized("a/1.images", 4, 2),
        sized("b/1.images", 4, 3),
        sized("a/2.images", 4, 1),
    )
    assert make_room(tmp_path, 2 * MIB, 14 * MIB)
    assert len(kept_files(tmp_path)) == 3
    assert make_room(tmp_path, 2 * MIB, 13 * MIB)
    assert [path.exists() for path in (older, old, new)] == [False, True, True]
    assert not older.parent.exists()
    assert not make_room(tmp_path, 20 * MIB, 13 * MIB)


def test_a_full_disk_makes_room_too(
    tmp_path: Path, sized: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = sized("a/1.images", 1, 2), sized("a/2.images", 1, 1)
    monkeypatch.setattr(room, "free_space", lambda _: 0 if old.exists() else 5 * MIB)
    assert make_room(tmp_path, MIB, 1 << 40)
    assert not old.exists()
    assert new.exists()


def test_what_is_half_written_goes_when_its_process_has_ended(tmp_path: Path) -> None:
    writer = SegmentWriter(tmp_path / "a", b"", SHAPE)
    left = tmp_path / "a" / ".left.part"
    left.write_bytes(b"half an ima")
    assert make_room(tmp_path, 1, 1 << 40)
    assert not left.exists()
    assert len(list((tmp_path / "a").iterdir())) == 1
    writer.discard()


@pytest.mark.usefixtures("small_segments")
def test_a_store_grows_to_its_limit_and_never_drops_what_is_held(tmp_path: Path) -> None:
    store = open_store(tmp_path, limit=5 * 4300)
    for number in range(60):
        add(store, number)
    store.flush()
    assert "is full" in store.problem
    has = found(store, *range(60))
    assert has[0]
    assert not has[-1]
    store.hold(store.find(digest_of(0)[np.newaxis]))
    store.release()
    other = open_store(tmp_path, limit=5 * 4300, name="other")
    for number in range(60):
        add(other, number)
    other.flush()
    assert found(store, 0) == [True]  # in use
    assert found(other, 0) == [True]
    assert sum(found(store, *range(60))) < sum(has)  # not in use
    assert sum(file.size for file in kept_files(tmp_path)) <= 5 * 4300


# ---- Failing ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["add", "publish"])
@pytest.mark.usefixtures("small_segments")
def test_a_full_disk_ends_writing_with_one_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    store = open_store(tmp_path)
    add(store, 0)
    store.flush()
    calls = []

    def fail(*_: Any) -> None:
        calls.append(method)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(SegmentWriter, method, fail)
    for number in range(1, 30):
        add(store, number)
    store.flush()
    assert store.problem == (
        f"The image cache {tmp_path} cannot be written (No space left on device): "
        "the next run decodes the images again."
    )
    assert len(calls) == 1
    assert len(os.listdir(tmp_path / "store")) == 1  # nothing half written is left
    assert found(store, 0, 1) == [True, False]


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = open_store(blocked / "cache")
    add(store, 1)
    add(store, 2)
    store.flush()
    assert "cannot be written (Not a directory)" in store.problem
    assert found(store, 1) == [False]
