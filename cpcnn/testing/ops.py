"""Implementations of an op against its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..devices import Device, get_device
from ..ops import REFERENCE
from ..ops.table import Action, Implementation, Ops
from .arrays import arrays_in, assert_near, draw, is_array, map_arrays
from .gradient import Backward, check_gradient

Place: TypeAlias = int | str  # of an argument: its position, or its name

# Arguments that backward returns gradients for, in its order; the first one where not listed.
DIFFERENTIABLE: dict[str, tuple[Place, ...]] = {
    "conv2d": (0, 1, 2),
    "conv2d_transpose": (0, 1, 2),
    "dense": (0, 1, 2),
    "batch_norm": (0, 1, 2, "residual"),
    "layer_norm": (0, 1, 2),
    "group_norm": (0, 1, 2),
}
# Arguments that an op documents it changes in place.
CHANGED: dict[str, tuple[Place, ...]] = {
    "batch_norm": (3, 4),
    "sgd_update": (0, 2),
    "adam_update": (0, 2, 3),
    "nadam_update": (0, 2, 3),
    "rmsprop_update": (0, 2, 3, 4),  # the last two where they are given
    "lamb_update": (0, 2, 3),
    "clip_gradient": (0,),
    "average_update": (0,),
}
TOLERANCE = {"float64": 1e-11, "float32": 2e-5, "float16": 3e-3, "bfloat16": 2e-2}
HALF = ("float16", "bfloat16")


@dataclass(frozen=True)
class Call:
    """An op's name and its arguments, with host arrays.

    `held_by` are the types that must hold all numbers drawn for the check, the coarsest first.
    """

    name: str
    args: tuple[Any, ...]
    options: dict[str, Any]
    training: bool
    seed: int = 0
    held_by: tuple[np.dtype[Any], ...] = ()

    def at(self, place: Place) -> Any:
        """Return the argument at a position or of a name; None when it is not given."""
        if isinstance(place, str):
            return self.options.get(place)
        return self.args[place] if place < len(self.args) else None

    def replaced(self, values: dict[Place, Any]) -> Call:
        """Return the call with other arguments at some places."""
        args = tuple(values.get(number, value) for number, value in enumerate(self.args))
        named = {name: values.get(name, value) for name, value in self.options.items()}
        return replace(self, args=args, options=named)

    def cast(self, dtype: Any) -> Call:
        """Return the call with all float arrays in `dtype`, and every array copied.

        Running statistics stay float32 where the rest is in half precision, as in a network.
        """

        def convert(array: NDArray[Any]) -> NDArray[Any]:
            return array.astype(dtype if _is_float(array.dtype) else array.dtype)

        args, options = map_arrays(convert, (self.args, self.options))
        call = replace(self, args=args, options=options)
        if self.name == "batch_norm" and str(dtype) in HALF:
            places = CHANGED["batch_norm"]
            return call.replaced({place: self.at(place).astype("float32") for place in places})
        return call

    def rounded(self) -> Call:
        """Return the call with numbers that every type of `held_by` holds."""
        call = self
        for dtype in self.held_by:
            call = call.cast(dtype)
        return call

    def exact(self) -> Call:
        """Return the call in float64, its result too."""
        call = self.cast("float64")
        return call.replaced({"dtype": "float64"} if "dtype" in self.options else {})

    def gradient_of(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """Draw the gradient of a result, the same numbers for every device and type."""
        gradient: NDArray[Any] = draw(shape, self.seed, "dy")
        for dtype in self.held_by:
            gradient = gradient.astype(dtype)
        return gradient

    def changed(self) -> list[Any]:
        """The arguments that the op changes in place, as far as this call has them."""
        if self.name == "batch_norm" and not self.training:
            return []
        arrays = [self.at(place) for place in CHANGED.get(self.name, ())]
        return [array for array in arrays if array is not None]


@dataclass
class Outcome:
    """All that a call gave, on the host."""

    result: list[NDArray[Any]]
    changed: list[NDArray[Any]]
    gradients: list[NDArray[Any] | None]


def check_op(
    device: Device,
    name: str,
    *args: Any,
    training: bool = True,
    gradient: bool = True,
    seed: int = 0,
    dtypes: Sequence[str] = ("float64", "float32"),
    **options: Any,
) -> None:
    """Check every implementation of an op that a device has against the NumPy reference.

    `args` and `options` are the op's, with NumPy arrays. In each of `dtypes`, on contiguous and on
    strided inputs: results and gradients agree with the reference in float64, dtypes and shapes
    are kept, and arguments are not changed unless the op's contract says so. With `gradient`,
    float64 gradients are also checked against differences.

    `dtypes` may name "float16" and "bfloat16": inputs are then rounded to what they hold. In half
    precision the definitions of `ops` are not checked, since they are not meant for it, and an
    implementation of the device's own must take the call.
    """
    given = Call(name, args, options, training, seed)
    # numbers that all types hold, so that all precisions compute the same thing
    coarse_first = sorted({"float32", *dtypes}, key=lambda dtype: -TOLERANCE[dtype])
    held_by = tuple(_host_dtype(device, dtype) for dtype in coarse_first)
    call = replace(given, held_by=held_by).rounded()
    reference = get_device("numpy")
    expected = _run(reference, reference.table[name][-1], call.exact(), strided=False)
    for dtype in dtypes:
        _check_dtype(device, call.cast(_host_dtype(device, dtype)), dtype, expected)
    if gradient and not issubclass(device.table[name][-1], Action):
        smooth = given.cast("float32").cast("float64")  # numbers of half precision bring ties
        for implementation in device.table[name]:
            if _supports(device, implementation, smooth, False):
                check_gradient(*_as_function(device, implementation, smooth))


def _check_dtype(device: Device, call: Call, dtype: str, expected: Outcome) -> None:
    """Check all implementations on a call whose arrays are in `dtype`."""
    precision = call.options.get("dtype", dtype)
    implementations = [
        implementation
        for implementation in device.table[call.name]
        if precision not in HALF or implementation is not REFERENCE[call.name][-1]
    ]
    checked = [
        _check_one(device, implementation, call, dtype, expected, strided)
        for implementation in implementations
        for strided in (False, True)
    ]
    if not any(checked):
        raise AssertionError(f"{call.name}: {device.name} has no implementation for {precision}")


def _check_one(
    device: Device,
    implementation: Implementation,
    call: Call,
    dtype: str,
    expected: Outcome,
    strided: bool,
) -> bool:
    """Check one implementation; returns whether it takes the call."""
    if not _supports(device, implementation, call, strided):
        return False
    what = f"{call.name} ({implementation.__name__} on {device.name}, {dtype}"
    what += ", strided)" if strided else ")"
    found = _run(device, implementation, call, strided=strided)
    wanted = {
        "result": [_result_dtype(r, call.options.get("dtype", dtype)) for r in expected.result],
        "changed": [str(array.dtype) for array in call.changed()],
        "gradients": [dtype for _ in expected.gradients],
    }
    for part, kinds in wanted.items():
        values, references = getattr(found, part), getattr(expected, part)
        if [v is None for v in values] != [r is None for r in references]:
            raise AssertionError(f"{what}: gradients are given for other arguments")
        for number, (value, exact, kind) in enumerate(zip(values, references, kinds, strict=True)):
            if value is None:
                continue
            if str(value.dtype) != kind:
                raise AssertionError(f"{what}: {part} {number} is {value.dtype}, not {kind}")
            tolerance = TOLERANCE.get(kind, 0.0)  # what is no float is the same
            assert_near(value, exact, tolerance, f"{what}: {part} {number}")
    return True


def _result_dtype(exact: NDArray[Any], precision: str) -> str:
    """The type a result should have: that of the inputs, unless it is no float by its meaning."""
    return precision if _is_float(exact.dtype) else str(exact.dtype)


def _is_float(dtype: Any) -> bool:
    return dtype.kind == "f" or str(dtype) == "bfloat16"  # NumPy knows the latter as raw bytes


def _host_dtype(device: Device, dtype: str) -> np.dtype[Any]:
    """NumPy's name for a type; bfloat16 comes from the device, which knows the package for it."""
    if dtype != "bfloat16":
        return np.dtype(dtype)
    with device.scope():
        return np.asarray(device.get(device.empty((1,), dtype))).dtype


def _context(device: Device, implementation: Implementation, call: Call) -> Context:
    ctx = Context(device, training=call.training, grad=True)
    # it is asked first, and what it calls in turn is computed as ever
    ctx.ops = Ops({**device.table, call.name: (implementation, *device.table[call.name])}, ctx)
    return ctx


def _supports(device: Device, implementation: Implementation, call: Call, strided: bool) -> bool:
    args, options = _put(device, call, strided)
    ctx = _context(device, implementation, call)
    return implementation.supports(ctx, *args, **options)


def _put(device: Device, call: Call, strided: bool) -> tuple[Any, Any]:
    """Bring the arguments to the device, each its own copy; `strided`: every second element."""

    def place(array: NDArray[Any]) -> Any:
        if strided and array.ndim:
            return device.put(np.repeat(array, 2, axis=-1))[..., ::2]
        return device.put(array.copy())

    return map_arrays(place, (call.args, call.options))


def _run(device: Device, implementation: Implementation, call: Call, *, strided: bool) -> Outcome:
    args, options = _put(device, call, strided)
    ctx = _context(device, implementation, call)
    here = replace(call, args=args, options=options)
    with device.scope():
        result = getattr(ctx.ops, call.name)(*args, **options)
        if issubclass(implementation, Action):
            gradients: list[Any] = []
        else:
            result, record = result
            dy = _like(device, result, call)
            kept = np.array(device.get(dy))
            gradients = _flat(ctx.ops.backward(dy, record))
            if not np.array_equal(device.get(dy), kept):
                raise AssertionError(f"{call.name}: backward changed dy")
        results = [np.array(device.get(array)) for array in arrays_in(result)]
    _check_unchanged(device, call, here)
    host = [None if g is None else np.array(device.get(g)) for g in gradients]
    return Outcome(results, [np.array(device.get(a)) for a in here.changed()], host)


def _like(device: Device, result: Any, call: Call) -> Any:
    """A gradient for a result: the same numbers on every device, in the result's dtype."""
    return device.put(call.gradient_of(result.shape).astype(device.get(result).dtype))


def _check_unchanged(device: Device, before: Call, after: Call) -> None:
    """Raise AssertionError when the op changed an argument that is not its to change."""
    changed = {id(array) for array in after.changed()}
    pairs = zip(
        arrays_in([before.args, before.options]),
        arrays_in([after.args, after.options]),
        strict=True,
    )
    for number, (host, array) in enumerate(pairs):
        if id(array) not in changed and not np.array_equal(
            host, device.get(array), equal_nan=_is_float(host.dtype)
        ):
            raise AssertionError(f"{before.name}: argument {number} was changed")


def _flat(gradients: Any) -> list[Any]:
    return list(gradients) if isinstance(gradients, tuple) else [gradients]


def _as_function(
    device: Device, implementation: Implementation, call: Call
) -> tuple[Any, Sequence[NDArray[Any]]]:
    """Return (function, arrays) for `check_gradient`: the op in its differentiable arguments."""
    places = DIFFERENTIABLE.get(call.name, (0,))
    first = call.at(places[0])
    several = not is_array(first)  # ops such as add take one sequence of arrays
    given = [place for place in places if call.at(place) is not None]
    arrays = list(first) if several else [call.at(place) for place in given]

    def function(*values: NDArray[Any]) -> tuple[NDArray[Any], Backward]:
        new = {places[0]: values} if several else dict(zip(given, values, strict=True))
        here = call.replaced(new)
        ctx = _context(device, implementation, here)
        args, options = _put(device, here, strided=False)
        with device.scope():
            y, record = getattr(ctx.ops, call.name)(*args, **options)

        def backward(dy: NDArray[Any]) -> Sequence[NDArray[Any] | None]:
            with device.scope():
                gradients = _flat(ctx.ops.backward(device.put(dy), record))
            # None stands for an argument that was not given
            return [np.array(device.get(g)) for g in gradients if g is not None]

        return np.array(device.get(y)), backward

    return function, arrays
