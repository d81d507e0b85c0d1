"""Python in a process of its own, in which kernels are built with a sanitizer of the compiler."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from .build import SANITIZER_VARIABLE, compiler

OPTIONS = {
    # Python itself frees little at its end, and its modules know no AddressSanitizer
    "ASAN_OPTIONS": "detect_leaks=0",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def run_sanitized(sanitizer: str, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run Python with kernels under "address" or "undefined"; what it finds ends the process."""
    environment = {**os.environ, **OPTIONS, SANITIZER_VARIABLE: sanitizer}
    if sanitizer == "address":  # which works only when it is there first
        environment["LD_PRELOAD"] = f"{_library('libasan.so')} {_library('libstdc++.so')}"
        environment["PYTHONMALLOC"] = "malloc"
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True
    )


def _library(name: str) -> str:
    command = [compiler(), f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
