"""A data set with the image cache: the right images, whatever happened to files and cache."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cpcnn.core.errors import UsageError
from cpcnn.data import contents, reading
from cpcnn.data.cache import ImageCache, digests, image_cache, place
from cpcnn.data.cache.segment import PAGE
from cpcnn.data.dataset import ImageDataset
from cpcnn.data.images.preprocess import Preprocessing
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.data.statistics import measure_statistics

SMALL = Preprocessing(8, 6, 3)
CACHED = ("auto", "disk")

Prepared = Callable[..., ImageDataset]


def write_colours(folder: Path, count: int, seed: int = 0) -> None:
    """Write noisy colour images that differ from each other."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, *folder.name.encode()])
    for number in range(count):
        pixels = noise.integers(0, 256, (12, 10, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of two classes with 12 images."""
    write_colours(tmp_path / "images" / "cat", 7)
    write_colours(tmp_path / "images" / "dog", 5)
    return tmp_path / "images"


@pytest.fixture
def cache_folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def prepared(images: Path, cache_folder: Path) -> Prepared:
    """Return a function that prepares a data set of the folder, with a cache opened anew."""

    def prepare(kept: str = "auto", **options: Any) -> ImageDataset:
        folder = scan_folder(images)
        (samples,) = folder.splits.values()
        options = {"cache": ImageCache(cache_folder, 1 << 30), **options}
        data = ImageDataset(samples, folder.classes, SMALL, kept=kept, **options)
        data.prepare(digests=True)
        return data

    return prepare


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files as settled that were written just now."""
    monkeypatch.setattr(digests, "SETTLED", -(1 << 62))


def check_images(data: ImageDataset) -> None:
    """See that a data set gives what its files say, in any order."""
    expected = np.stack([SMALL.load(sample.path) for sample in data.samples])
    np.testing.assert_array_equal(data.gather(np.arange(len(data))), expected)
    index = np.array([len(data) - 1, 0, 3, 3])
    np.testing.assert_array_equal(data.gather(index), expected[index])
    assert data.measure() == measure_statistics(expected)
    assert data.digests == tuple(contents.digests_of(data.samples))


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.images"))


@pytest.mark.parametrize("kept", ["auto", "memory", "disk", "off"])
@pytest.mark.parametrize("limit", [None, 0])
def test_all_ways_give_the_same_images(prepared: Prepared, kept: str, limit: int | None) -> None:
    for _ in range(2):
        data = prepared(kept, memory_limit=limit)
        check_images(data)
        fits = limit is None and kept in ("auto", "memory")
        mapped = kept == "disk" or (kept == "auto" and not fits)
        assert data.in_memory == fits
        assert data.on_disk == (len(data) if mapped else 0)


@pytest.mark.parametrize("kept", ["memory", "off"])
def test_nothing_is_written_unless_asked(prepared: Prepared, cache_folder: Path, kept: str) -> None:
    prepared(kept)
    assert not cache_folder.exists()


@pytest.mark.parametrize("kept", CACHED)
def test_a_later_run_decodes_nothing(prepared: Prepared, kept: str) -> None:
    first = prepared(kept)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preprocessing, "load", None)
        again = prepared(kept)
        np.testing.assert_array_equal(
            first.gather(np.arange(len(first))), again.gather(np.arange(len(again)))
        )
    check_images(again)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("kept", CACHED)
def test_a_later_run_reads_no_unchanged_file(
    prepared: Prepared, images: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(kept)
    changed = images / "cat" / "3.png"
    Image.new("RGB", (12, 12), (200, 100, 50)).save(changed)
    read = []
    original = reading.read_content

    def note(sample: Sample) -> contents.Content:
        read.append(sample.path)
        return original(sample)

    monkeypatch.setattr(reading, "read_content", note)
    check_images(prepared(kept))
    assert read == [changed]


def test_files_changed_just_now_are_read_again(prepared: Prepared, images: Path) -> None:
    """The clock of the file system may not have ticked since."""
    prepared()
    path = images / "cat" / "0.png"
    before, size = path.stat(), path.stat().st_size
    content = bytearray(path.read_bytes())
    for other in (images / "cat").iterdir():
        if other.stat().st_size == size and other != path:
            content = bytearray(other.read_bytes())
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    check_images(prepared())


@pytest.mark.parametrize("kept", CACHED)
def test_moved_and_copied_files_hit(
    prepared: Prepared, images: Path, kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(kept)
    (images / "cat" / "0.png").rename(images / "dog" / "was a cat.png")
    shutil.copy(images / "dog" / "1.png", images / "cat" / "a dog.png")
    (images / "dog").rename(images / "hound")
    load = Preprocessing.load
    monkeypatch.setattr(Preprocessing, "load", None)
    data = prepared(kept)
    monkeypatch.setattr(Preprocessing, "load", load)
    assert len(data) == 13
    check_images(data)


def test_another_preprocessing_is_another_store(prepared: Prepared, cache_folder: Path) -> None:
    prepared()
    cache = ImageCache(cache_folder)
    digest = np.frombuffer(bytes.fromhex(prepared().digests[0]), np.uint8)[np.newaxis]
    for other, found in (
        (Preprocessing(8, 6, 3, mean=(1, 2, 3)), True),
        (Preprocessing(8, 6, 3, "pad"), False),
        (Preprocessing(8, 6, 3, interpolation="bicubic"), False),
        (Preprocessing(8, 6, 3, jpeg="reduced"), False),
        (Preprocessing(6, 8, 3), False),
        (Preprocessing(8, 6, 1), False),
    ):
        store = cache.store(other)
        assert store is not None
        assert (store.find(digest)[0] >= 0) is np.bool_(found)


def test_another_decoder_is_another_store(
    prepared: Prepared, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared()
    monkeypatch.setattr("PIL.__version__", "99.0")
    check_images(prepared())
    monkeypatch.setattr(image_cache, "OUR_DECODING", 99)
    check_images(prepared())
    assert len(segments(cache_folder)) == 3


@pytest.mark.parametrize("kept", CACHED)
def test_bad_files_are_the_same_as_without(prepared: Prepared, images: Path, kept: str) -> None:
    (images / "cat" / "2.png").write_bytes(b"no image")
    (images / "dog" / "1.png").write_bytes(b"")
    expected = prepared("memory")
    for _ in range(2):
        data = prepared(kept)
        assert [str(bad) for bad in data.bad] == [str(bad) for bad in expected.bad]
        assert len(data.bad) == 2
        check_images(data)
        assert data.samples == expected.samples
        np.testing.assert_array_equal(data.labels, expected.labels)


@pytest.mark.parametrize("kept", CACHED)
def test_training_and_validation_share_a_cache(
    tmp_path: Path, cache_folder: Path, prepared: Prepared, kept: str
) -> None:
    cache = ImageCache(cache_folder)
    write_colours(tmp_path / "images" / "cat", 3, seed=1)
    both = [prepared(kept, cache=cache, memory_limit=0), prepared(kept, cache=cache)]
    for data in both:
        check_images(data)
    assert cache.notices() == ()


# ---- Damage ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", CACHED)
def test_damage_is_noticed_and_healed(prepared: Prepared, cache_folder: Path, kept: str) -> None:
    prepared(kept)
    (path,) = segments(cache_folder)
    content = bytearray(path.read_bytes())
    content[PAGE + 3 * 8 * 6 * 3 + 7] ^= 0x10
    path.write_bytes(content)
    cache = ImageCache(cache_folder)
    check_images(prepared(kept, cache=cache))
    assert cache.notices() == ("Part of the image cache was damaged: its images are decoded anew.",)
    assert not path.exists()
    cache = ImageCache(cache_folder)
    check_images(prepared(kept, cache=cache))
    assert cache.notices() == ()
    assert len(segments(cache_folder)) > 0


@pytest.mark.parametrize("kept", CACHED)
def test_a_cache_emptied_meanwhile(prepared: Prepared, cache_folder: Path, kept: str) -> None:
    data = prepared(kept)
    shutil.rmtree(cache_folder)
    check_images(data)
    check_images(prepared(kept))


def test_an_interrupt_keeps_what_was_decoded(
    prepared: Prepared, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "LARGEST_CHUNK", 2)
    data = ImageDataset(
        prepared("off").samples, ("cat", "dog"), SMALL, kept="auto", cache=ImageCache(cache_folder)
    )

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.prepare(workers=1, progress=interrupt)
    assert len(segments(cache_folder)) == 1
    check_images(prepared())


# ---- Without ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", CACHED)
def test_a_place_that_cannot_be_written(prepared: Prepared, tmp_path: Path, kept: str) -> None:
    (tmp_path / "file").write_text("")
    cache = ImageCache(tmp_path / "file" / "cache")
    data = prepared(kept, cache=cache)
    check_images(data)
    assert data.in_memory == (kept == "auto")
    assert len(cache.notices()) == 1
    assert "cannot be written (Not a directory)" in cache.notices()[0]


@pytest.mark.parametrize("kept", CACHED)
def test_no_place_at_all(prepared: Prepared, kept: str) -> None:
    cache = ImageCache.without_place("there is none")
    check_images(prepared(kept, cache=cache))
    assert len(cache.notices()) == 1
    assert "there is none" in cache.notices()[0]


def test_a_full_cache(prepared: Prepared, cache_folder: Path) -> None:
    cache = ImageCache(cache_folder, limit=1000)
    data = prepared("disk", cache=cache)
    check_images(data)
    assert data.on_disk == 0
    assert [note for note in cache.notices() if "is full" in note]
    assert segments(cache_folder) == []


def test_where_it_is_and_how_large(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CPCNN_IMAGE_CACHE", str(tmp_path))
    assert place.cache_folder() == tmp_path
    monkeypatch.delenv("CPCNN_IMAGE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert place.cache_folder() == Path("/somewhere/cpcnn/images")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/of")
    assert place.cache_folder() == Path("/home/of/.cache/cpcnn/images")
    for text, size in (("", 20 << 30), ("500M", 500 << 20), ("1.5 GiB", 3 << 29), ("7", 7)):
        monkeypatch.setenv("CPCNN_CACHE_SIZE", text)
        assert place.cache_limit() == size
    monkeypatch.setenv("CPCNN_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="CPCNN_CACHE_SIZE is 'much'"):
        ImageCache()


def test_an_unknown_choice(prepared: Prepared) -> None:
    with pytest.raises(UsageError, match="auto, memory, disk, off, not 'ram'"):
        prepared("ram")


def test_what_is_too_large_to_be_read_at_once(
    prepared: Prepared, cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "LARGE", 100)
    check_images(prepared("disk"))
    assert segments(cache_folder) == []
