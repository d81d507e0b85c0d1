"""The content of files as SHA-256."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cpcnn.data import manifest


@pytest.mark.parametrize("large", [0, 10, 1000])
def test_small_and_large_files_have_the_same_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: int
) -> None:
    monkeypatch.setattr(manifest, "LARGE", large)
    contents = [b"", b"0123456789", bytes(range(256)) * 3]
    paths = [tmp_path / str(number) for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    expected = [hashlib.sha256(content).hexdigest() for content in contents]
    found = [manifest.sha256_of(path) for path in [*paths, tmp_path / "none"]]
    assert found == [*expected, ""]
