from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.data.cache.room import remove_unused
from cpcnn.data.cache.segment import PAGE, Segment, SegmentWriter, table_type

SHAPE = (3, 5, 3)
IDENTITY = b'{"images": "of a test"}'
COUNT = 4


def some_images() -> tuple[NDArray[np.uint8], NDArray[Any]]:
    images = np.random.default_rng(1).integers(0, 256, (COUNT, *SHAPE), np.uint8)
    table = np.zeros(COUNT, table_type(SHAPE[2]))
    table["sha256"][:, 0] = range(COUNT)
    table["crc"] = [zlib.crc32(image) for image in images]
    return images, table


def write_segment(folder: Path) -> tuple[Path, NDArray[np.uint8]]:
    images, table = some_images()
    writer = SegmentWriter(folder, IDENTITY, SHAPE)
    writer.add(images[:1], table[:1])
    writer.add(images[1:], table[1:])
    return writer.publish().path, images


def read_all(path: Path) -> list[NDArray[np.uint8] | None]:
    """Return the images that a segment gives, None for those it does not."""
    segment = Segment.open(path, IDENTITY, SHAPE)
    if segment is None:
        return [None] * COUNT
    out = np.empty((COUNT, *SHAPE), np.uint8)
    return [out[row] if segment.read(row, out[row]) else None for row in range(COUNT)]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path, images = write_segment(tmp_path)
    np.testing.assert_array_equal(read_all(path), images)
    segment = Segment.open(path, IDENTITY, SHAPE)
    assert segment is not None
    np.testing.assert_array_equal(segment.table["sha256"][:, 0], range(COUNT))
    np.testing.assert_array_equal(segment.map(), images)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@given(data=st.data())
def test_any_damage_is_noticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A file with any byte changed, or cut or extended anywhere, gives right images or none."""
    path, images = write_segment(tmp_path_factory.mktemp("segment"))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), "cut"):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    elif data.draw(st.booleans(), "extended"):
        content += bytes(data.draw(st.integers(1, PAGE)))
    else:
        parts = st.integers(0, 100) | st.integers(PAGE, len(content) - 1)
        content[data.draw(parts, "place")] ^= data.draw(st.integers(1, 255), "bits")
    path.write_bytes(content)
    for found, image in zip(read_all(path), images, strict=True):
        assert found is None or np.array_equal(found, image)


def test_a_damaged_image_takes_its_segment_away(tmp_path: Path) -> None:
    path, images = write_segment(tmp_path)
    content = bytearray(path.read_bytes())
    content[PAGE + images[0].nbytes] ^= 1
    path.write_bytes(content)
    segment = Segment.open(path, IDENTITY, SHAPE)
    assert segment is not None
    out = np.empty(SHAPE, np.uint8)
    assert segment.read(0, out)
    assert not segment.damaged
    assert not segment.read(1, out)
    assert segment.damaged
    assert not path.exists()
    assert segment.read(2, out)  # it is mapped still
    np.testing.assert_array_equal(out, images[2])


@pytest.mark.parametrize(("identity", "shape"), [(b"other", SHAPE), (IDENTITY, (3, 5, 1))])
def test_images_of_another_kind_are_not_taken(
    tmp_path: Path, identity: bytes, shape: tuple[int, int, int]
) -> None:
    path, _ = write_segment(tmp_path)
    assert Segment.open(path, identity, shape) is None
    assert path.exists()


def test_a_segment_in_use_is_not_removed(tmp_path: Path) -> None:
    path, images = write_segment(tmp_path)
    segment = Segment.open(path, IDENTITY, SHAPE)
    assert segment is not None
    out = np.empty(SHAPE, np.uint8)
    assert segment.read(0, out)
    assert not remove_unused(path)
    segment.release()
    assert remove_unused(path)
    assert not segment.read(0, out)
    assert not path.exists()
    np.testing.assert_array_equal(out, images[0])


def test_a_segment_that_is_written_is_not_removed(tmp_path: Path) -> None:
    images, table = some_images()
    writer = SegmentWriter(tmp_path / "store", IDENTITY, SHAPE)
    writer.add(images, table)
    (part,) = (tmp_path / "store").iterdir()
    assert not remove_unused(part)
    segment = writer.publish()
    assert not part.exists()
    assert not remove_unused(segment.path)
    writer = SegmentWriter(tmp_path / "store", IDENTITY, SHAPE)
    writer.discard()
    assert os.listdir(tmp_path / "store") == [segment.path.name]
