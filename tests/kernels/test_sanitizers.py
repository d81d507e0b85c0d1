"""Kernels under the compiler's sanitizers: planted mistakes are found, ours have none."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from emulation import run_sanitized

pytestmark = pytest.mark.usefixtures("emulator")
HERE = Path(__file__).parent
PLANTED = HERE / "planted"
# Tests of planted mistakes, and those that launch no kernel of ours.
OTHERS = (
    *("test_emulator.py", "test_emulator_build.py", "test_mutants.py", "test_compile_gate.py"),
    *("test_launched.py", Path(__file__).name),
)
LAUNCH = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
import numpy as np
from emulation import EmulatedLauncher, guarded, planted
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.devices.cuda.kernel import Kernel
with planted(Path({planted!r})):
    kernel = Kernel("loops.cu", {name!r}, [()])
    EmulatedLauncher().run(kernel, (), Launch((1, 1, 1), (1, 1, 1)), [{values}])
print("nothing was found")
"""


def under_sanitizer(sanitizer: str, name: str, values: str) -> str:
    """Launch a planted kernel in a process of its own; return all that it printed."""
    code = LAUNCH.format(here=str(HERE), planted=str(PLANTED), name=name, values=values)
    result = run_sanitized(sanitizer, ["-c", code])
    return result.stdout + result.stderr


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("copies_vectors", "guarded(4, 'f4'), guarded(4, 'f4', shift=1)", "misaligned address"),
        ("copies_vectors", "guarded(4, 'f4'), guarded(4, 'f4')", "nothing was found"),
        ("overflows", "guarded(1, 'i4'), np.int32(2**31 - 1)", "signed integer overflow"),
    ],
)
def test_the_sanitizer_of_undefined_behaviour(name: str, values: str, found: str) -> None:
    text = under_sanitizer("undefined", name, values)
    assert found in text
    assert found == "nothing was found" or re.search(r"loops\.cu:\d+:\d+: runtime error", text)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("writes_at", "guarded(9, 'f4'), np.int32(9)", "heap-buffer-overflow"),
        ("writes_at", "guarded(9, 'f4'), np.int32(8)", "nothing was found"),
        ("reads_at", "guarded(9, 'f4'), guarded(1, 'f4'), np.int32(-1)", "heap-buffer-overflow"),
    ],
)
def test_the_address_sanitizer(name: str, values: str, found: str) -> None:
    text = under_sanitizer("address", name, values)
    assert found in text
    assert found == "nothing was found" or re.search(r"#0 .*loops\.cu:\d+", text)


def summary(text: str, word: str) -> int:
    """Return the number before a word in pytest's last line."""
    found = re.search(rf"(\d+)(?:/\d+)? (?:tests? )?{word}", text.rstrip().rpartition("\n")[2])
    return int(found[1]) if found else 0


@pytest.mark.long
@pytest.mark.parametrize("sanitizer", ["address", "undefined"])
def test_our_kernels_have_nothing_to_find(sanitizer: str) -> None:
    """The default kernel tests once more: all pass, none is skipped."""
    ignored = [f"--ignore={HERE / name}" for name in OTHERS]
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *ignored, str(HERE)]
    collected = run_sanitized("undefined", [*tests, "--collect-only"]).stdout
    result = run_sanitized(sanitizer, tests)
    assert result.returncode == 0, result.stdout[-4000:] + result.stderr[-4000:]
    assert summary(result.stdout, "passed") == summary(collected, "collected") > 0
