"""Runs kernels on a GPU: compiles each instance when it is first used, by CuPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...core.errors import DeviceError
from .geometry import Launch
from .kernel import Instance, Kernel

OPTIONS = ("-std=c++17",)
NULL = np.uint64(0)  # a pointer to nothing; CuPy would take None for a missing argument


class CupyLauncher:
    """Launches on the current stream of one GPU. CuPy keeps compiled kernels on disk."""

    def __init__(self, gpu: int) -> None:
        import cupy

        self._cupy = cupy
        self._gpu = gpu
        self._functions: dict[tuple[Kernel, Instance], Any] = {}

    def address(self, array: Any) -> int:
        """Return where an array begins; DeviceError unless it lies on this GPU."""
        if not isinstance(array, self._cupy.ndarray):
            raise DeviceError(
                f"gpu:{self._gpu} was given an array of {type(array).__module__}.",
                suggestion="Bring it to the GPU with device.put(array).",
            )
        if array.device.id != self._gpu:
            raise DeviceError(
                f"gpu:{self._gpu} was given an array that lies on gpu:{array.device.id}.",
                suggestion="Move the model with model.to(device), and arrays through the host.",
            )
        return int(array.data.ptr)

    def run(self, kernel: Kernel, instance: Instance, launch: Launch, values: list[Any]) -> None:
        """Launch an instance; it is compiled now if this is the first time."""
        function = self._functions.get((kernel, instance))
        if function is None:
            function = self._compile(kernel, instance)
            self._functions[kernel, instance] = function
        arguments = tuple(NULL if value is None else value for value in values)
        function(launch.grid, launch.block, arguments)

    def _compile(self, kernel: Kernel, instance: Instance) -> Any:
        name = kernel.expression(instance)
        module = self._cupy.RawModule(code=kernel.source, options=OPTIONS, name_expressions=(name,))
        try:
            return module.get_function(name)
        except self._cupy.cuda.compiler.CompileException as error:
            raise DeviceError(
                f"the kernel {name} of {kernel.file} cannot be compiled: {error}.",
                suggestion="Run `cpcnn devices` to check the CUDA installation.",
            ) from None
