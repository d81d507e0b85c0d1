"""Plants the mistakes of mutants.toml in copies of the kernels and runs the tests on each.

    python tests/kernels/try_mutants.py [FILE.cu ...]

Prints a line for each mutant; exits with 1 when the tests did not notice one. Before that the same
tests must pass on copies without a mistake, or their failures would mean nothing.
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
PASSED, FAILED = 0, 1  # what pytest exits with

# Runs pytest on other sources, and builds them where the cache of the real ones stays as it is. A
# failing example is not made small: that it fails is enough.
RUN = """
import sys
from pathlib import Path
import pytest
from cpcnn.devices.cuda import kernel
from emulation import build

class WithoutShrinking:
    @pytest.hookimpl(tryfirst=True)
    def pytest_configure(self, config):
        from hypothesis import Phase, settings
        settings.register_profile(
            "mutants", deadline=None, derandomize=True, database=None, max_examples=50,
            phases=(Phase.explicit, Phase.generate),
        )

folder, cache, *arguments = sys.argv[1:]
kernel.FOLDER, build.CACHE = Path(folder), Path(cache)
sys.exit(pytest.main(arguments, plugins=[WithoutShrinking()]))
"""


def mutants(files: Sequence[str]) -> list[dict[str, Any]]:
    """Return the mutants of some files, or all."""
    known = tomllib.loads((HERE / "mutants.toml").read_text("utf-8"))["mutant"]
    return [mutant for mutant in known if not files or mutant["file"] in files]


def tests_of(mutant: dict[str, Any]) -> str:
    """Return the file of tests that has to notice."""
    return str(mutant.get("tests", f"test_{Path(mutant['file']).stem}.py"))


def plant(mutant: dict[str, Any], folder: Path) -> None:
    """Put the mistake into a copy of the kernels; ValueError when it has no place there."""
    path = folder / mutant["file"]
    text = path.read_text("utf-8")
    found, expected = text.count(mutant["find"]), mutant.get("times", 1)
    if found != expected:
        raise ValueError(
            f"{mutant['file']} has {mutant['find']!r} {found} times, not {expected}: "
            "bring mutants.toml up to date"
        )
    path.write_text(text.replace(mutant["find"], mutant["replace"]), "utf-8")


def passes(tests: str, mutant: dict[str, Any] | None = None) -> bool:
    """Say whether a file of tests passes on the kernels, with a mistake in them or without.

    RuntimeError when the tests could not be run, or the mistake is none that compiles.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, cache = Path(name, "kernels"), Path(name, "cache")
        shutil.copytree(KERNELS, folder)
        if mutant is not None:
            plant(mutant, folder)
        shutil.copytree(CACHE, cache)
        options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=mutants"]
        result = subprocess.run(
            [sys.executable, "-c", RUN, str(folder), str(cache), str(HERE / tests), *options],
            cwd=HERE.parents[1],
            env=os.environ | {"PYTHONPATH": str(HERE)},
            capture_output=True,
            text=True,
        )
    output = result.stdout + result.stderr
    ran = result.returncode == PASSED or (
        result.returncode == FAILED and "short test summary" in output
    )
    if not ran or "EmulatorBuildError" in output:
        raise RuntimeError(f"{tests}, {mutant}:\n{output[-3000:]}")
    return result.returncode == PASSED


def survivors(files: Sequence[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """Yield the mutants of some files, or all, and whether each survives; two at a time.

    RuntimeError when tests fail on kernels without a mistake.
    """
    chosen = mutants(files)
    controls = sorted({tests_of(mutant) for mutant in chosen})
    CACHE.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(WORKERS) as pool:
        for tests, good in zip(controls, pool.map(passes, controls), strict=True):
            if not good:
                raise RuntimeError(f"{tests} fails on the kernels as they are")
        outcome = pool.map(lambda mutant: passes(tests_of(mutant), mutant), chosen)
        yield from zip(chosen, outcome, strict=True)


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
