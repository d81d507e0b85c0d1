"""A kernel: one template of a `.cu` file, what may be passed to it, and how it is launched.

What a kernel takes is read from its source, so that a launch can be checked against it: CUDA
itself takes any bytes for any parameter. The same object launches on CuPy and on the emulator of
the tests.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ...core.context import Context
from .element_types import (
    DTYPES,
    FLOATS,
    VECTOR_BYTES,
    accumulator,
    c_type_of,
    dtype_name,
    element_size,
    full_vector,
)
from .geometry import Launch

Instance: TypeAlias = tuple["str | int", ...]  # template arguments, as they stand in the source

FOLDER = Path(__file__).with_name("kernels")


class LaunchError(RuntimeError):
    """A launch that does not fit its kernel: a mistake in cpcnn, not in its use."""


class Launcher(Protocol):
    """Runs kernels on arrays: CuPy on a GPU, or an emulator on the host."""

    def address(self, array: Any) -> int:
        """Return where an array begins; DeviceError when it lies on another device."""

    def run(self, kernel: Kernel, instance: Instance, launch: Launch, values: list[Any]) -> None:
        """Run an instance; `values` are arrays, NumPy scalars, and None for null pointers."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel; `c_type` may be a template parameter, or made of one."""

    name: str
    c_type: str
    pointer: bool
    optional: bool  # the source says `or null` behind it

    def resolved(self, types: dict[str, str]) -> Parameter:
        """Return the parameter with its template type replaced."""
        c_type = re.sub(r"\w+", lambda word: types.get(word[0], word[0]), self.c_type)
        if wide := re.fullmatch(r"Accumulator<(\w+)>", c_type):
            c_type = accumulator(wide[1])
        if c_type not in DTYPES:
            raise LaunchError(f"{self.name} is of a type that cannot be passed: {c_type}")
        return replace(self, c_type=c_type)

    @property
    def dtype(self) -> str:
        return DTYPES[self.c_type]


class Kernel:
    """The template `name` of `kernels/file`, in the instances that are compiled and tested.

    `instances` are tuples of template arguments, in the source's order. Calling a kernel launches
    it. All kernels are in `Kernel.known`, for the tests that compile and emulate every one.
    """

    known: list[Kernel] = []  # noqa: RUF012

    def __init__(self, file: str, name: str, instances: Sequence[Instance]) -> None:
        self.file = file
        self.name = name
        self.instances = tuple(instances)
        Kernel.known.append(self)

    def __repr__(self) -> str:
        return f"<Kernel {self.name} of {self.file}>"

    @property
    def source(self) -> str:
        """The whole source text, headers of ours written out."""
        return read_source(self.file)

    @cached_property
    def _declaration(self) -> re.Match[str]:
        found = re.search(
            r"(?:template\s*<([^>]*)>\s*)?__global__\s+void\s+"
            r"__launch_bounds__\((\d+)(?:, *\d+)?\)\s+"
            rf"{self.name}\s*\(([^)]*)\)",
            self.source,
        )
        if found is None:
            raise LaunchError(f"{self.file} declares no kernel {self.name} with launch bounds")
        return found

    @cached_property
    def template(self) -> tuple[str, ...]:
        """The names of the template parameters."""
        text = self._declaration[1]
        return tuple(part.split()[-1] for part in text.split(",")) if text else ()

    @property
    def max_threads(self) -> int:
        """Threads that a block may have."""
        return int(self._declaration[2])

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters as declared."""
        return tuple(_parse(part) for part in _split(self._declaration[3]))

    def expression(self, instance: Instance) -> str:
        """Return an instance as C++ names it: `im2col<float, 4>`."""
        return f"{self.name}<{', '.join(map(str, instance))}>" if instance else self.name

    def __call__(self, ctx: Context, launch: Launch, instance: Instance, **arguments: Any) -> None:
        """Launch an instance on the context's device, arguments by name.

        Numbers become the parameter's type. LaunchError for what the kernel cannot take: another
        type, an array that is not contiguous or not aligned for its vectors, a missing argument, a
        number out of range, a geometry over the limits. An empty grid runs nothing.
        """
        launcher: Launcher = ctx.device.launcher  # type: ignore[attr-defined]
        values = self._values(launcher, instance, arguments)
        try:
            launch.check(self.max_threads)
        except ValueError as error:
            raise self._error(instance, str(error)) from None
        if math.prod(launch.grid):
            launcher.run(self, instance, launch, values)

    def _values(
        self, launcher: Launcher, instance: Instance, arguments: dict[str, Any]
    ) -> list[Any]:
        parameters, alignment = self._resolve(instance)
        names = [parameter.name for parameter in parameters]
        if arguments.keys() != set(names):
            wrong = sorted(arguments.keys() ^ set(names))
            raise self._error(instance, f"takes {', '.join(names)}; check {', '.join(wrong)}")
        values = []
        for parameter in parameters:
            value = arguments[parameter.name]
            if parameter.pointer:
                self._check_array(launcher, instance, parameter, value, alignment)
            else:
                value = self._number(instance, parameter, value)
            values.append(value)
        return values

    @cache  # noqa: B019  kernels live as long as the program
    def _resolve(self, instance: Instance) -> tuple[tuple[Parameter, ...], dict[str, int]]:
        """Return the parameters of an instance, and the bytes to which arrays of T are aligned."""
        if instance not in self.instances:
            raise self._error(instance, f"is none of the instances {self.instances}")
        bound = dict(zip(self.template, instance, strict=True))
        types = {name: str(value) for name, value in bound.items() if isinstance(value, str)}
        parameters = tuple(parameter.resolved(types) for parameter in self.parameters)
        vector = int(bound.get("VEC", 1))
        width = vector * element_size(DTYPES[types["T"]]) if "T" in types else 1
        alignment = {p.name: width for p in self.parameters if p.pointer and p.c_type == "T"}
        return parameters, alignment

    def _check_array(
        self,
        launcher: Launcher,
        instance: Instance,
        parameter: Parameter,
        array: Any,
        alignment: dict[str, int],
    ) -> None:
        name = parameter.name
        if array is None:
            if not parameter.optional:
                raise self._error(instance, f"needs an array {name}")
            return
        if not hasattr(array, "dtype") or not hasattr(array, "flags"):
            raise self._error(instance, f"takes an array {name}, not {type(array).__name__}")
        if dtype_name(array) != parameter.dtype:
            raise self._error(instance, f"takes {parameter.dtype} in {name}, not {array.dtype}")
        if not array.flags.c_contiguous:
            raise self._error(
                instance, f"takes a contiguous {name}; its strides are {array.strides}"
            )
        if array.size and launcher.address(array) % alignment.get(name, 1):
            raise self._error(instance, f"takes {name} aligned to {alignment[name]} bytes")

    def _number(self, instance: Instance, parameter: Parameter, value: Any) -> Any:
        kind, accepted = _scalar(parameter.dtype)
        if not isinstance(value, accepted) or isinstance(value, bool):
            raise self._error(
                instance, f"takes {parameter.dtype} for {parameter.name}, not {value!r}"
            )
        try:
            return kind(value)
        except OverflowError:
            raise self._error(
                instance, f"{parameter.name} = {value} is out of the range of {parameter.dtype}"
            ) from None

    def _error(self, instance: Instance, text: str) -> LaunchError:
        return LaunchError(f"{self.expression(instance)} in {self.file}: {text}")


@cache
def read_source(file: str) -> str:
    """Return a file of `kernels/` with the headers of ours that it includes written out, once each.

    CuPy's cache of compiled kernels looks at the source text alone, not at what it includes.
    """
    seen: set[str] = set()

    def expand(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        text = (FOLDER / name).read_text("utf-8")
        return re.sub(r'^#include "([^"]+)"$', lambda found: expand(found[1]), text, flags=re.M)

    return expand(file)


def vectorised(types: Sequence[str] = FLOATS) -> list[Instance]:
    """Return the instances (T, VEC) of each type: one element a thread, and the widest load."""
    return [(c_type, vector) for c_type in types for vector in (1, full_vector(c_type))]


def each(types: Sequence[str] = FLOATS) -> list[Instance]:
    """Return the instances (T,) of each type."""
    return [(c_type,) for c_type in types]


def vector_width(ctx: Context, length: int, *arrays: Any) -> int:
    """Return the widest VEC for rows of `length` elements: 1, unless all arrays are aligned."""
    launcher: Launcher = ctx.device.launcher  # type: ignore[attr-defined]
    width = full_vector(c_type_of(arrays[0]))
    if length % width:
        return 1
    given = [array for array in arrays if array is not None]
    aligned = all(launcher.address(array) % VECTOR_BYTES == 0 for array in given)
    return width if aligned else 1


def contiguous(ctx: Context, array: Any) -> Any:
    """Return the array itself, or a copy that has no gaps: kernels know no strides."""
    return array if array.flags.c_contiguous else ctx.xp.ascontiguousarray(array)


@cache
def _scalar(dtype: str) -> tuple[Any, tuple[type, ...]]:
    """Return the NumPy type of a number of a dtype, and the types that may become it."""
    kind = np.dtype(dtype)
    return kind.type, ((int, np.integer) if kind.kind in "iu" else (int, float, np.number))


def _split(parameters: str) -> list[str]:
    """Cut a parameter list at its commas; a comment behind a comma belongs to what is before it."""
    moved = re.sub(r",([ \t]*//[^\n]*|[ \t]*/\*.*?\*/)", r"\1,", parameters)
    parts = re.split(r",(?![^<]*>)", re.sub(r"//([^\n,]*)", r"/*\1*/", moved))
    return [part for part in parts if part.strip()]


def _parse(text: str) -> Parameter:
    optional = "or null" in text
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    pointer = "*" in text
    words = re.sub(r"\bconst\b|\b__restrict__\b|\*", " ", text).split()
    return Parameter(words[-1], " ".join(words[:-1]), pointer, optional)
