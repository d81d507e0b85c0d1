"""A driver and a CuPy that answer as they are told, to play every cause without a GPU."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def build_driver(folder: Path) -> Path:
    """Compile the stub driver into a folder and return its path; skips where there is no g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is missing, and with it the stub driver that plays the causes")
    library = folder / "libcuda.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", str(library), str(HERE / "libcuda.cpp")], check=True
    )
    return library


def install_cupy(folder: Path, *packages: str) -> Path:
    """Write the double of CuPy into a folder, as if these packages had installed it."""
    (folder / "cupy").mkdir(parents=True)
    shutil.copy(HERE / "cupy_double.py", folder / "cupy" / "__init__.py")
    for package in packages:
        metadata = folder / f"{package.replace('-', '_')}-14.2.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 14.2.0\n")
    return folder
