"""NVRTC through ctypes: CUDA source in, machine code and the compiler's log out."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from cpcnn.devices.cuda.launcher import OPTIONS

# The wheels of a CUDA release: the compiler, and cuda_fp16.h with what belongs to it.
WHEELS = {
    13: ("nvidia-cuda-nvrtc", "nvidia-cuda-runtime"),
    12: ("nvidia-cuda-nvrtc-cu12", "nvidia-cuda-runtime-cu12"),
}


class CompileError(Exception):
    """What NVRTC says of a source that does not compile."""


class Compiled(NamedTuple):
    """Machine code, the log with what ptxas measured, and the mangled name of each expression."""

    cubin: bytes
    log: str
    names: dict[str, str]


@dataclass(frozen=True)
class Toolkit:
    """An installed NVRTC with its headers."""

    version: str  # of the NVRTC wheel: register counts move with it
    headers_version: str
    library: Path
    headers: Path

    @cached_property
    def nvrtc(self) -> ctypes.CDLL:
        nvrtc = ctypes.CDLL(str(self.library))
        nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
        return nvrtc

    def options(self, architecture: str) -> list[str]:
        """Return our options, those that CuPy adds, and the wish for figures in the log."""
        return [
            *OPTIONS,
            "-ftz=true",
            "--device-as-default-execution-space",
            f"--gpu-architecture={architecture}",
            f"-I{self.headers}",
            "--ptxas-options=-v",
        ]

    def compile(
        self, file: str, source: str, expressions: Sequence[str], architecture: str
    ) -> Compiled:
        """Compile the template instances `expressions` of a source; CompileError with the log.

        Threads may compile at the same time.
        """
        nvrtc, program = self.nvrtc, ctypes.c_void_p()
        self._check(
            nvrtc.nvrtcCreateProgram(
                ctypes.byref(program), source.encode(), file.encode(), 0, None, None
            )
        )
        try:
            for expression in expressions:
                self._check(nvrtc.nvrtcAddNameExpression(program, expression.encode()))
            options = [option.encode() for option in self.options(architecture)]
            status = nvrtc.nvrtcCompileProgram(
                program, len(options), (ctypes.c_char_p * len(options))(*options)
            )
            log = self._read(program, "ProgramLog").rstrip(b"\0").decode()
            if status:
                raise CompileError(log or self._meaning(status))
            names = {expression: self._name(program, expression) for expression in expressions}
            return Compiled(self._read(program, "CUBIN"), log, names)
        finally:
            nvrtc.nvrtcDestroyProgram(ctypes.byref(program))

    def _read(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(getattr(self.nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        content = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.nvrtc, f"nvrtcGet{what}")(program, content))
        return content.raw

    def _name(self, program: ctypes.c_void_p, expression: str) -> str:
        name = ctypes.c_char_p()
        self._check(
            self.nvrtc.nvrtcGetLoweredName(program, expression.encode(), ctypes.byref(name))
        )
        return (name.value or b"").decode()

    def _check(self, status: int) -> None:
        if status:
            raise RuntimeError(f"NVRTC: {self._meaning(status)}")

    def _meaning(self, status: int) -> str:
        return self.nvrtc.nvrtcGetErrorString(status).decode()


@cache
def find(cuda: int) -> Toolkit | None:
    """Return the NVRTC of a CUDA release, None when its wheels are not installed."""
    compiler, runtime = WHEELS[cuda]
    library = installed_file(compiler, "libnvrtc.so.*")
    header = installed_file(runtime, "cuda_fp16.h")
    if library is None or header is None:
        return None
    return Toolkit(metadata.version(compiler), metadata.version(runtime), library, header.parent)


def installed_file(distribution: str, pattern: str) -> Path | None:
    """Return the first file of an installed distribution whose name fits."""
    try:
        files = metadata.files(distribution) or []
    except metadata.PackageNotFoundError:
        return None
    return next((Path(file.locate()) for file in files if fnmatch(file.name, pattern)), None)
