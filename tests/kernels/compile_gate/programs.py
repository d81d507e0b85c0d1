"""What there is to compile: the files of kernels for the architectures, and how many it is."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

# Importing the device makes every kernel known.
import cpcnn.devices.cuda.device  # noqa: F401
from cpcnn.devices.cuda.kernel import Kernel, read_source

from . import nvrtc, registers
from .build import CUDA, Code, MissingTool, build, tools
from .sources import located

KERNELS = tuple(Kernel.known)
ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120")
WORKERS = min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Program:
    """A file of kernels for an architecture, by the compiler of a CUDA release."""

    file: str
    architecture: str
    cuda: int = CUDA

    @property
    def kernels(self) -> list[Kernel]:
        return [kernel for kernel in KERNELS if kernel.file == self.file]

    @property
    def expressions(self) -> list[str]:
        return [kernel.expression(i) for kernel in self.kernels for i in kernel.instances]

    def build(self) -> dict[str, Code]:
        """Return what became of each instance; CompileError with the places of the errors."""
        try:
            codes = build(
                self.file,
                read_source(self.file),
                self.expressions,
                self.architecture,
                self.cuda,
            )
        except nvrtc.CompileError as error:
            kernels = ", ".join(kernel.name for kernel in self.kernels)
            raise nvrtc.CompileError(
                f"{self.file} ({kernels}) does not compile for {self.architecture} "
                f"with CUDA {self.cuda}:\n{located(str(error), self.file)}"
            ) from None
        _compiled.add(self)
        return codes


_compiled: set[Program] = set()  # in this process, or taken from the cache


def counts() -> list[str]:
    """Return lines for a test summary: what was compiled in this process, and what was left out."""
    lines = []
    for cuda in nvrtc.WHEELS:
        programs = [program for program in _compiled if program.cuda == cuda]
        try:
            version = tools(cuda)[0].version
        except MissingTool as missing:
            if cuda == CUDA:  # the other one comes with the long tier
                lines.append(f"NOT compiled with CUDA {cuda}: {missing}")
            continue
        if programs:
            lines.append(f"{_sizes(programs)} by NVRTC {version}")
        if programs and cuda == CUDA:
            reason = registers.read_record().why_not_compared(version)
            lines.extend([reason] if reason else [])
    return lines


def _sizes(programs: list[Program]) -> str:
    kernels = {kernel.name for program in programs for kernel in program.kernels}
    instances = {name for program in programs for name in program.expressions}
    architectures = {program.architecture for program in programs}
    return (
        f"{len(kernels)} kernels in {len(instances)} instances compiled for "
        f"{', '.join(name for name in ARCHITECTURES if name in architectures)}"
    )


def files() -> list[str]:
    """Return the files that hold a kernel."""
    return sorted({kernel.file for kernel in KERNELS})


class Builds:
    """Programs being compiled by threads: NVRTC lets go of Python while it works."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(WORKERS)
        self._running: dict[Program, Future[dict[str, Code]]] = {}

    def start(self, programs: Iterable[Program]) -> None:
        for program in programs:
            if program not in self._running:
                self._running[program] = self._threads.submit(program.build)

    def result(self, program: Program) -> dict[str, Code]:
        """Return what became of each instance of a program, once it is there."""
        self.start([program])
        return self._running[program].result()

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)
