"""Plants the mistakes of mutants.toml in copies of the kernels and runs the tests on each.

    python tests/kernels/try_mutants.py [FILE.cu ...]

Prints a line for each mutant; exits with 1 when the tests did not notice one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parents[1] / "cpcnn" / "devices" / "cuda" / "kernels"
CACHE = HERE.parents[1] / "build" / "emulator"
WORKERS = 2
FAILED = 1  # what pytest exits with when a test failed

# Runs pytest on other sources, and builds them where the cache of the real ones stays as it is.
RUN = """
import sys
from pathlib import Path
import pytest
from cpcnn.devices.cuda import kernel
from emulation import build
folder, cache, *arguments = sys.argv[1:]
kernel.FOLDER, build.CACHE = Path(folder), Path(cache)
sys.exit(pytest.main(arguments))
"""


def mutants(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the mutants of some files, or all."""
    known = tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))["mutant"]
    return [mutant for mutant in known if not files or mutant["file"] in files]


def plant(mutant: dict[str, Any], folder: Path) -> None:
    """Write a copy of the kernels with the mistake in it; ValueError when it has no place."""
    shutil.copytree(KERNELS, folder)
    path = folder / mutant["file"]
    text = path.read_text("utf-8")
    found, expected = text.count(mutant["find"]), mutant.get("times", 1)
    if found != expected:
        raise ValueError(
            f"{mutant['file']} has {mutant['find']!r} {found} times, not {expected}: "
            "bring mutants.toml up to date"
        )
    path.write_text(text.replace(mutant["find"], mutant["replace"]), "utf-8")


def survives(mutant: dict[str, Any]) -> bool:
    """Say whether all tests pass with the mistake in place."""
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "kernels"), Path(name, "cache")
        plant(mutant, folder)
        shutil.copytree(CACHE, cache)
        tests = HERE / mutant.get("tests", f"test_{Path(mutant['file']).stem}.py")
        command = [sys.executable, "-c", RUN, str(folder), str(cache), str(tests)]
        options = ["-q", "-x", "-p", "no:cacheprovider"]
        result = subprocess.run(
            [*command, *options],
            cwd=HERE.parents[1],
            env=os.environ | {"PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
        )
    if result.returncode not in (0, FAILED) or "EmulatorBuildError" in result.stdout:
        raise RuntimeError(result.stdout[-2000:] + result.stderr[-2000:])
    return result.returncode == 0


def survivors(files: Sequence[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the mutants of some files, or all, and whether each survives; two at a time."""
    chosen = mutants(files)
    with ThreadPoolExecutor(WORKERS) as pool:
        yield from zip(chosen, pool.map(survives, chosen), strict=True)


def main(files: Sequence[str]) -> int:
    missed = 0
    for mutant, alive in survivors(files):
        missed += alive
        word = "SURVIVED" if alive else "noticed "
        print(f"{word}  {mutant['file']}: {mutant['what']}", flush=True)
    print(f"{missed} mistakes were not noticed" if missed else "every mistake was noticed")
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
