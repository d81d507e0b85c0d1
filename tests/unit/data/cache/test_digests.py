from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from cpcnn.data.cache import DigestIndex, digests, fingerprint, has_settled


def key(number: int) -> bytes:
    return number.to_bytes(16, "little")


def digest(number: int) -> bytes:
    return bytes([number % 256]) * 32


def known(cache: Path, *numbers: int) -> list[bool]:
    """Say which entries a process that begins now finds, and see that they are the right ones."""
    found, has = DigestIndex(cache).find([key(number) for number in numbers])
    for number, row, is_known in zip(numbers, found, has, strict=True):
        assert not is_known or row.tobytes() == digest(number)
    return has.tolist()


def save(cache: Path, *numbers: int) -> None:
    index = DigestIndex(cache)
    for number in numbers:
        index.add(key(number), digest(number))
    index.save()


def test_entries_are_kept(tmp_path: Path) -> None:
    assert known(tmp_path, 1, 2) == [False, False]
    save(tmp_path, 2, 3)
    save(tmp_path)
    save(tmp_path, 1 << 100)
    assert known(tmp_path, 1, 2, 3, 1 << 100, (1 << 100) + 1) == [False, True, True, True, False]
    assert len(os.listdir(tmp_path / "digests")) == 2


def test_many_files_become_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(digests.MANY_FILES + 1):
        save(tmp_path, number, 0)
    assert len(os.listdir(tmp_path / "digests")) == 1
    assert all(known(tmp_path, *range(digests.MANY_FILES + 1)))
    monkeypatch.setattr(digests, "MOST_ENTRIES", 3)
    for number in range(50, 50 + digests.MANY_FILES):
        save(tmp_path, number)
    assert sum(known(tmp_path, *range(100))) == 3
    assert known(tmp_path, 50 + digests.MANY_FILES - 1) == [True]


def test_the_newest_entry_counts(tmp_path: Path) -> None:
    for value in (1, 2):
        index = DigestIndex(tmp_path)
        index.add(key(7), digest(value))
        index.save()
    assert DigestIndex(tmp_path).find([key(7)])[0].tobytes() == digest(2)


@pytest.mark.parametrize("cut", [0, 5, 27, 28, 60, -1])
def test_a_damaged_file_is_removed(tmp_path: Path, cut: int) -> None:
    save(tmp_path, 1, 2)
    (path,) = (tmp_path / "digests").iterdir()
    path.write_bytes(path.read_bytes()[:cut])
    assert known(tmp_path, 1, 2) == [False, False]
    assert not path.exists()
    save(tmp_path, 1)
    content = bytearray(next((tmp_path / "digests").iterdir()).read_bytes())
    content[-1] ^= 1
    next((tmp_path / "digests").iterdir()).write_bytes(content)
    assert known(tmp_path, 1) == [False]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "digests").write_text("")
    with pytest.raises(OSError, match=r"exists|directory"):
        save(tmp_path, 1)


# ---- Fingerprints ----------------------------------------------------------------------------


def test_every_change_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"some")
    seen = {fingerprint(str(path), path.stat())}

    def is_new() -> bool:
        before = len(seen)
        seen.add(fingerprint(str(path), path.stat()))
        return len(seen) > before

    assert not is_new()
    status = path.stat()
    path.write_bytes(b"more!")
    assert is_new()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_bytes(b"some")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_mtime_ns == status.st_mtime_ns
    assert is_new()  # by the ctime
    other = tmp_path / "other"
    shutil.copy2(path, other)
    os.replace(other, path)
    assert is_new()
    assert fingerprint(str(tmp_path / "b.png"), path.stat()) not in seen
    assert fingerprint(str(path), path.stat(), offset=512) not in seen


def test_relative_and_absolute_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    status = (tmp_path / "a.png").stat()
    monkeypatch.chdir(tmp_path)
    assert fingerprint("a.png", status) == fingerprint(str(tmp_path / "a.png"), status)


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\n'.png"))
    path.write_bytes(b"")
    assert len(fingerprint(str(path), path.stat())) == 16


def test_a_file_settles(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"")
    now = time.time_ns()
    os.utime(path, ns=(0, 0))  # the ctime is that of now all the same
    assert not has_settled(path.stat(), now)
    assert not has_settled(path.stat(), now + 1_900_000_000)
    assert has_settled(path.stat(), now + 2_100_000_000)
