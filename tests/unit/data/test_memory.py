from pathlib import Path

import pytest

from cpcnn.data import memory


def test_there_is_some() -> None:
    assert 1 << 20 < memory.available_memory() < 1 << 50


def test_the_least_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    meminfo, limit, use = (tmp_path / name for name in ("meminfo", "limit", "use"))
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    5000 kB\n")
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "CGROUPS", ((limit, use),))
    assert memory.available_memory() == 5000 * 1024
    limit.write_text("max\n")
    use.write_text("1000\n")
    assert memory.available_memory() == 5000 * 1024
    limit.write_text("3000\n")
    assert memory.available_memory() == 2000
    limit.write_text("900\n")
    assert memory.available_memory() == 0


def test_without_meminfo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "missing")
    assert memory.available_memory() > 1 << 20
