from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cpcnn.data import contents
from cpcnn.data.cache import ImageCache, digests
from cpcnn.data.contents import digests_of, key_of, read_content
from cpcnn.data.images.decode import BadImage
from cpcnn.data.layouts.image_folder import Sample


def test_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"some bytes")
    content = read_content(Sample(path, ""))
    assert content.data == b"some bytes"
    assert content.sha256 == hashlib.sha256(b"some bytes").digest()
    assert content.key is None  # it was written just now
    monkeypatch.setattr(digests, "SETTLED", -(1 << 62))
    assert read_content(Sample(path, "")).key == key_of(Sample(path, ""))


def test_a_large_file_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "LARGE", 9)
    path = tmp_path / "a"
    path.write_bytes(b"some bytes")
    content = read_content(Sample(path, ""))
    assert content.data is None
    assert content.sha256 == hashlib.sha256(b"some bytes").digest()


def test_what_changes_while_it_is_read_is_not_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -(1 << 62))
    path = tmp_path / "a"
    path.write_bytes(b"some bytes")
    original = hashlib.sha256

    def change(data: bytes) -> object:
        path.write_bytes(b"other, longer bytes")
        return original(data)

    monkeypatch.setattr(hashlib, "sha256", change)
    assert read_content(Sample(path, "")).key is None


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(BadImage, match="cannot be opened \\(No such file"):
        read_content(Sample(tmp_path / "missing", ""))
    with pytest.raises(BadImage, match="cannot be opened \\(Is a directory"):
        read_content(Sample(tmp_path, ""))
    assert key_of(Sample(tmp_path / "missing", "")) is None


@pytest.mark.parametrize("workers", [0, 3])
def test_digests_with_and_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    monkeypatch.setattr(digests, "SETTLED", -(1 << 62))
    samples = [Sample(tmp_path / f"{number}", "") for number in range(5)]
    for number, sample in enumerate(samples[1:]):
        sample.path.write_bytes(bytes([number]))
    expected = ["", *(hashlib.sha256(sample.read_bytes()).hexdigest() for sample in samples[1:])]
    assert digests_of(samples, workers=workers) == expected
    assert digests_of(samples, workers=workers, cache=ImageCache(tmp_path / "cache")) == expected
    read = []

    def note(sample: Sample) -> contents.Content:
        read.append(sample)
        return read_content(sample)

    monkeypatch.setattr(contents, "read_content", note)
    cache = ImageCache(tmp_path / "cache")
    assert digests_of(samples, workers=workers, cache=cache) == expected
    assert read == [samples[0]]
    assert digests_of([], cache=cache) == []
