"""Launches kernels on NumPy arrays, and checks what CUDA itself would take unseen."""

from __future__ import annotations

import ctypes
from collections import Counter
from typing import Any, ClassVar

import numpy as np

from cpcnn.core.errors import DeviceError
from cpcnn.devices.cuda.element_types import C_TYPES
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.devices.cuda.kernel import Instance, Kernel

from . import build
from .arrays import check_guards


class EmulationError(RuntimeError):
    """A kernel did, or was asked for, what a GPU leaves undefined."""


class EmulatedLauncher:
    """Runs kernels on the host, one thread after another.

    `seed` chooses in which order blocks and threads run: 0 as they are numbered, 1 in reverse,
    any other shuffled, threads anew after every barrier. `sanitizer` is None, "address" or
    "undefined", by default what the environment variable CPCNN_EMULATOR_SANITIZER says.
    `launched` counts the launches of each instance, `launched_by_all` those of all launchers.
    """

    launched_by_all: ClassVar[Counter[tuple[str, Instance]]] = Counter()

    def __init__(self, seed: int = 0, sanitizer: str | None = None) -> None:
        build.compiler()  # raises where nothing can be launched
        self.seed = seed
        self.sanitizer = sanitizer or build.default_sanitizer()
        self.launched: Counter[tuple[str, Instance]] = Counter()

    def address(self, array: Any) -> int:
        """Return where a NumPy array begins; DeviceError for any other."""
        if not isinstance(array, np.ndarray):
            raise DeviceError(
                f"a kernel on the emulator takes NumPy arrays, not {type(array).__name__}.",
                suggestion="Move it with `device.put`.",
            )
        return array.ctypes.data

    def run(self, kernel: Kernel, instance: Instance, launch: Launch, values: list[Any]) -> None:
        """Run an instance; EmulationError with kernel, block and thread for what it must not do."""
        expression = kernel.expression(instance)
        what = f"{expression} in {kernel.file}"
        library = build.library(kernel, instance, self.sanitizer)
        cells = self._cells(what, library.signature(expression), values)
        message = library.launch(
            library.places[expression],
            (ctypes.c_uint * 3)(*launch.grid),
            (ctypes.c_uint * 3)(*launch.block),
            (ctypes.c_void_p * len(cells))(*map(ctypes.addressof, cells)),
            self.seed,
        )
        if message is not None:
            raise EmulationError(f"{what}: {message.decode()}")
        for counter in (self.launched, self.launched_by_all):
            counter[kernel.name, instance] += 1
        for parameter, value in zip(kernel.parameters, values, strict=True):
            if isinstance(value, np.ndarray) and (damage := check_guards(value)):
                raise EmulationError(f"{what} wrote outside of {parameter.name}: {damage}")

    def _cells(self, what: str, signature: tuple[str, ...], values: list[Any]) -> list[Any]:
        """Return each value in memory of its own, as a kernel receives it."""
        if len(values) != len(signature):
            raise EmulationError(f"{what} takes {len(signature)} arguments, not {len(values)}")
        for place, (wanted, value) in enumerate(zip(signature, values, strict=True)):
            found = _c_type(value)
            if found not in (wanted.removeprefix("const "), "nullptr" * wanted.endswith("*")):
                raise EmulationError(f"{what} takes {wanted} as argument {place}, not {found}")
        return [self._cell(value) for value in values]

    def _cell(self, value: Any) -> Any:
        if value is None:
            return ctypes.c_void_p()
        if isinstance(value, np.ndarray):
            return ctypes.c_void_p(self.address(value))
        return ctypes.create_string_buffer(value.tobytes(), value.itemsize)


def _c_type(value: Any) -> str:
    """Return what a value is in C++."""
    if value is None:
        return "nullptr"
    c_type = C_TYPES.get(str(value.dtype), str(value.dtype))
    return f"{c_type}*" if isinstance(value, np.ndarray) else c_type
