"""Kernels of another folder, for a while: tests plant mistakes that the emulator has to find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cpcnn.devices.cuda import kernel as kernels


@contextmanager
def planted(folder: Path) -> Iterator[None]:
    """Let kernels that are made inside have their files in `folder`, and forget them after."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "FOLDER", folder)
        patch.setattr(kernels.Kernel, "known", [])
        kernels.read_source.cache_clear()
        yield
    kernels.read_source.cache_clear()
