"""The folder of compiled code: whole files or none, shared by processes, cleaned up with care."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from cpcnn.devices.cpu.code_folder import UNUSED, CodeFolder, cache_folder

DIGEST, OTHER = "0123456789abcdef" * 4, "fedcba9876543210" * 4


def aged(folder: Path, seconds: float) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "code").write_bytes(b"code")
    then = time.time() - seconds
    os.utime(folder, (then, then))
    return folder


def test_what_was_written_can_be_read(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path / "cache", DIGEST)
    assert folder.read("kernel") is None
    assert not (tmp_path / "cache").exists()  # reading makes nothing
    folder.write("kernel", b"code")
    folder.write("empty", b"")
    again = CodeFolder(tmp_path / "cache", DIGEST)
    assert again.read("kernel") == b"code"
    assert again.read("empty") == b""
    assert CodeFolder(tmp_path / "cache", OTHER).read("kernel") is None
    assert again.path is not None
    assert sorted(file.name for file in again.path.iterdir()) == ["empty", "kernel"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path, DIGEST)
    folder.write("kernel", b"code" * 100)
    assert folder.path is not None
    file = folder.path / "kernel"
    whole = file.read_bytes()
    for size in (0, 10, 32, 33, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert folder.read("kernel") is None
    for place in (0, 31, 32, len(whole) - 1):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert folder.read("kernel") is None
    file.unlink()
    file.mkdir()
    assert folder.read("kernel") is None
    folder.write("kernel", b"code")  # in vain, and leaves nothing else
    assert list(folder.path.iterdir()) == [file]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    for parent in (tmp_path / "file", tmp_path / "file" / "cache", Path("/proc/nothing"), None):
        folder = CodeFolder(parent, DIGEST)
        assert not folder.prepare()
        folder.write("kernel", b"code")
        assert folder.read("kernel") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_can_only_be_read(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path, DIGEST)
    folder.write("kernel", b"code")
    assert folder.path is not None
    folder.path.chmod(0o500)
    assert not folder.prepare()
    folder.write("another", b"code")
    assert folder.read("another") is None
    assert folder.read("kernel") == b"code"


def test_making_a_folder_removes_those_that_nobody_uses(tmp_path: Path) -> None:
    unused = aged(tmp_path / "kernels-00112233445566aa", UNUSED + 60)
    kept = [
        aged(tmp_path / "kernels-00112233445566bb", UNUSED - 60),
        aged(tmp_path / "kernels-of-another", UNUSED + 60),
        aged(tmp_path / "else", UNUSED + 60),
        aged(tmp_path / "elsewhere" / "00112233445566cc", UNUSED + 60),
    ]
    link = tmp_path / "kernels-00112233445566dd"
    link.symlink_to(kept[3])
    CodeFolder(tmp_path, DIGEST).write("kernel", b"code")
    assert not unused.exists()
    assert link.is_symlink()
    assert all((folder / "code").exists() for folder in kept)


def test_only_making_a_folder_removes_others(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path, DIGEST)
    folder.write("kernel", b"code")
    unused = aged(tmp_path / "kernels-00112233445566aa", UNUSED + 60)
    folder.write("another", b"code")
    assert unused.exists()


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    folder = CodeFolder(tmp_path, DIGEST)
    folder.write("kernel", b"code")
    assert folder.path is not None
    aged(folder.path, UNUSED + 60)
    CodeFolder(tmp_path, DIGEST).read("kernel")  # what a process does that needs it
    CodeFolder(tmp_path, OTHER).write("kernel", b"code")
    assert folder.read("kernel") == b"code"


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "cpcnn"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which counts as not set
    assert cache_folder() == tmp_path / ".cache" / "cpcnn"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "cpcnn"
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "numba"))
    assert cache_folder() == tmp_path / "numba" / "cpcnn"


def test_a_system_without_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder() is None
