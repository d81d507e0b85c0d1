"""Kernels are compiled once: what is kept on disk, and what is said, by processes of their own."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")

KERNELS = """
import sys
import numpy as np
from cpcnn.devices.cpu.kernels.jit import kernel, part

@part
def twice(x):
    return 2 * x

@kernel
def double(x, y):
    for i in range(len(x)):
        y[i] = twice(x[i])

assert double.signatures == []  # nothing is compiled at import
for dtype in sys.argv[1:]:
    y = np.empty(3, dtype)
    double(np.ones(3, dtype), y)
    assert y.tolist() == [2, 2, 2], y
print(sum(double.stats.cache_misses.values()))
"""
SAID = "Compiling CPU kernels: the first run only.\n"
BOTH = ("float32", "float64")


class Program:
    """A program with a kernel, and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.file = folder / "tiny_kernels.py"
        self.file.write_text(KERNELS)

    def start(self, *dtypes: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if "CACHE" not in k and "NUMBA" not in k}
        return subprocess.Popen(
            [sys.executable, str(self.file), *dtypes],
            env=inherited | {"HOME": str(self.home)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *dtypes: str, **environment: str) -> str:
        """Run it, and return what it said."""
        process = self.start(*dtypes or ("float32",), **environment)
        out, said = process.communicate(timeout=60)
        assert process.returncode == 0, said
        # Numba counts what it did not find, and so compiled
        assert (int(out) > 0) == bool(said)
        return said

    def files(self, cache: Path | None = None) -> list[Path]:
        found = (cache or self.home / ".cache").rglob("*")
        return sorted(file for file in found if file.is_file())


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


def test_the_second_run_compiles_nothing(program: Program) -> None:
    assert program.run() == SAID
    (file,) = program.files()
    assert file.parent.parent == program.home / ".cache" / "cpcnn"
    before = file.read_bytes()
    assert program.run() == ""
    assert file.read_bytes() == before
    assert program.run(*BOTH) == SAID  # once, though it is another type
    assert len(program.files()) == 2
    assert program.run(*BOTH) == ""


def test_a_damaged_file_is_written_anew(program: Program) -> None:
    program.run()
    (file,) = program.files()
    whole = file.read_bytes()
    nonsense = pickle.dumps(["nothing", "of", "Numba's"])
    for damaged in (whole[:-1], hashlib.sha256(nonsense).digest() + nonsense):
        file.write_bytes(damaged)
        assert program.run() == SAID
    assert program.run() == ""


def test_a_home_that_cannot_be_written(program: Program, tmp_path: Path) -> None:
    said = program.run(HOME="/proc/nothing")
    assert said.startswith("Compiling CPU kernels, and again in every run, as /proc/nothing/")
    assert "XDG_CACHE_HOME" in said
    assert said.count("\n") == 1
    assert program.files(tmp_path) == [program.file]


def test_the_variables_that_say_where(program: Program, tmp_path: Path) -> None:
    xdg, numba = tmp_path / "xdg", tmp_path / "numba"
    program.run(XDG_CACHE_HOME=str(xdg))
    assert len(program.files(xdg)) == 1
    assert program.run(XDG_CACHE_HOME=str(xdg), NUMBA_CACHE_DIR=str(numba)) == SAID
    assert len(program.files(numba)) == 1
    assert program.files() == []


def test_processes_that_compile_at_once(program: Program) -> None:
    """Each for itself, with both orders of types; what they leave serves both."""
    processes = [program.start(*order) for order in (BOTH, BOTH[::-1])]
    for process in processes:
        _, said = process.communicate(timeout=60)
        # on a busy machine one may begin when the other is done
        assert process.returncode == 0
        assert said in (SAID, "")
    assert len(program.files()) == 2
    for order in (BOTH, BOTH[::-1]):
        assert program.run(*order) == ""


@pytest.mark.long
def test_many_processes_that_compile_and_clean_up_at_once(program: Program) -> None:
    for turn in range(3):
        processes = [program.start(*order) for order in (BOTH, BOTH[::-1]) * 4]
        for process in processes:
            _, said = process.communicate(timeout=300)
            assert process.returncode == 0, said
        assert len(program.files()) == 2
        assert program.run(*BOTH) == ""
        damaged = program.files()[turn % 2]
        damaged.write_bytes(damaged.read_bytes()[:-1])
