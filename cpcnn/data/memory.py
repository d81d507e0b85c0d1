"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

FALLBACK = 4 << 30
MEMINFO = Path("/proc/meminfo")
# (limit, use) of a container: cgroup 2, cgroup 1.
CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available_memory() -> int:
    """Return the bytes that are free to use: the machine's, or a container's if fewer."""
    candidates = [_machine(), *(_container(limit, use) for limit, use in CGROUPS)]
    return max(0, min(size for size in candidates if size is not None))


def _machine() -> int:
    try:
        for line in MEMINFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "MemAvailable":
                return int(value.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):
        return FALLBACK


def _container(limit: Path, use: Path) -> int | None:
    try:
        return int(limit.read_text()) - int(use.read_text())
    except (OSError, ValueError):  # no such file, or the word "max"
        return None
