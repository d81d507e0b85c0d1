"""Optimizer updates on the GPU: `kernels/updates.cu` and `kernels/gradient_checks.cu`.

The kernels take flat arrays of any length; how wide they load is a matter of alignment alone.
"""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from .element_types import c_type_of, full_vector, is_floating
from .geometry import THREADS, WARP, Launch, linear
from .kernel import Kernel, contiguous, each, vector_width, vectorised

TYPES = ("float", "double")  # that parameters are stored in
GROUPS = 8  # that a thread of a first stage takes, when there are enough
MAX_PARTS = 1024  # of a sum

sgd_update = Kernel("updates.cu", "sgd_update", vectorised(TYPES))
adam_update = Kernel("updates.cu", "adam_update", vectorised(TYPES))
average_update = Kernel("updates.cu", "average_update", vectorised(TYPES))
find_not_finite = Kernel("gradient_checks.cu", "find_not_finite", vectorised(TYPES))
square_parts = Kernel("gradient_checks.cu", "square_parts", vectorised(TYPES))
clipping_scale = Kernel("gradient_checks.cu", "clipping_scale", each(TYPES))


class FusedSGDUpdate(Action):
    """SGDUpdate in one pass over the buffers."""

    @staticmethod
    def supports(ctx: Context, *arrays: Any, scale: Any = None, **options: Any) -> bool:
        value, grad, velocity = arrays
        return _are_flat(value, grad, velocity, scale) and _can_change(value, velocity)

    @staticmethod
    def run(
        ctx: Context,
        value: Array,
        grad: Array,
        velocity: Array,
        *,
        learning_rate: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        scale: Array | None = None,
    ) -> None:
        grad = contiguous(ctx, grad)
        _over_elements(
            ctx,
            sgd_update,
            {"value": value, "grad": grad, "velocity": velocity, "scale": scale},
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            nesterov=int(nesterov),
        )


class FusedAdamUpdate(Action):
    """AdamUpdate in one pass over the buffers."""

    @staticmethod
    def supports(ctx: Context, *arrays: Any, scale: Any = None, **options: Any) -> bool:
        value, grad, first, second = arrays
        return _are_flat(value, grad, first, second, scale) and _can_change(value, first, second)

    @staticmethod
    def run(
        ctx: Context,
        value: Array,
        grad: Array,
        first: Array,
        second: Array,
        *,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
        step: int,
        scale: Array | None = None,
    ) -> None:
        grad = contiguous(ctx, grad)
        _over_elements(
            ctx,
            adam_update,
            {"value": value, "grad": grad, "first": first, "second": second, "scale": scale},
            # 1 - beta has to be rounded last: float32 would lose most of its digits
            keep_first=beta_1,
            take_first=1 - beta_1,
            keep_second=beta_2,
            take_second=1 - beta_2,
            rate=learning_rate / (1 - beta_1**step),
            correction=(1 - beta_2**step) ** 0.5,
            epsilon=epsilon,
            shrink=1 - learning_rate * weight_decay,
        )


class FusedAverageUpdate(Action):
    """AverageUpdate in one pass over the buffers."""

    @staticmethod
    def supports(ctx: Context, average: Any, value: Any, *, decay: float) -> bool:
        return _are_flat(average, value) and _can_change(average)

    @staticmethod
    def run(ctx: Context, average: Array, value: Array, *, decay: float) -> None:
        arrays = {"average": average, "value": contiguous(ctx, value)}
        _over_elements(ctx, average_update, arrays, keep=decay, take=1 - decay)


class TwoStageGradientScale(Action):
    """GradientScale: sums of squares of parts, joined in a fixed order."""

    @staticmethod
    def supports(ctx: Context, grad: Any, *, max_norm: float) -> bool:
        return _are_flat(grad)

    @staticmethod
    def run(ctx: Context, grad: Array, *, max_norm: float) -> Array:
        grad = contiguous(ctx, grad)
        c_type = c_type_of(grad)
        count = _part_count(grad.shape[0], full_vector(c_type))
        parts = ctx.empty((count,), "float64")
        scale = ctx.empty((1,), grad.dtype)
        vec = vector_width(ctx, 0, grad)
        square_parts(ctx, _blocks(count), (c_type, vec), x=grad, parts=parts, size=grad.shape[0])
        clipping_scale(
            ctx, _blocks(1), (c_type,), parts=parts, scale=scale, count=count, max_norm=max_norm
        )
        return scale


class OnePassAllFinite(Action):
    """AllFinite: true beforehand, and false where a thread finds an element that is not."""

    @staticmethod
    def supports(ctx: Context, values: Any) -> bool:
        return is_floating(values) and c_type_of(values) in TYPES

    @staticmethod
    def run(ctx: Context, values: Array) -> Array:
        result: Array = ctx.xp.ones((1,), dtype=ctx.xp.bool)
        _over_elements(ctx, find_not_finite, {"x": contiguous(ctx, values)}, result=result)
        return result


def _are_flat(*arrays: Any) -> bool:
    """Whether all arrays given are of one rank and type that the kernels take."""
    given = [array for array in arrays if array is not None]
    return (
        is_floating(*given)
        and c_type_of(given[0]) in TYPES
        and all(array.ndim == 1 for array in given)
    )


def _can_change(*arrays: Any) -> bool:
    return all(array.flags.c_contiguous for array in arrays)


def _over_elements(ctx: Context, kernel: Kernel, arrays: dict[str, Any], **others: Any) -> None:
    """Launch a kernel on all elements of `arrays`, the first of which says how many there are."""
    first = next(iter(arrays.values()))
    vec = vector_width(ctx, 0, *arrays.values())
    launch = linear(-(-first.size // vec))
    kernel(ctx, launch, (c_type_of(first), vec), size=first.size, **arrays, **others)


def _part_count(size: int, group: int) -> int:
    """How many blocks sum `size` elements; at least one, which then writes a zero."""
    return min(max(-(-size // (THREADS * GROUPS * group)), 1), MAX_PARTS)


def _blocks(count: int) -> Launch:
    return Launch((count, 1, 1), (WARP, THREADS // WARP, 1))
