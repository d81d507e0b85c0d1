"""Optimizer updates: compiled, one pass over the flat buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from ...ops.updates import clipping_scale
from .kernels import updates as kernels
from .workers import VECTOR, cut, in_threads

Floats = NDArray[np.float32]
FLOAT32 = np.dtype("float32")
NONE = np.empty(0, FLOAT32)  # stands for a state that there is not


class FlatAction(Action):
    """What the updates have in common: arrays of float32 without gaps, all of one length."""

    @staticmethod
    def supports(ctx: Context, *arrays: Any, scale: Any = None, **options: Any) -> bool:
        shape = arrays[0].shape
        return len(shape) == 1 and all(
            array.dtype == FLOAT32 and array.shape == shape and array.flags.c_contiguous
            for array in arrays
        )


def _in_threads(ctx: Context, arrays: tuple[Floats, ...], kernel: Any, *options: Any) -> None:
    """Call a kernel on pieces of all arrays."""
    size = arrays[0].size

    def work(piece: slice) -> None:
        kernel(*arrays, piece.start, piece.stop, *options)

    in_threads(ctx, work, cut(ctx, size, size * len(arrays) // VECTOR))


def _factor(scale: Floats | None) -> float:
    """What the gradient is multiplied by; 0 if the step is skipped."""
    return 1.0 if scale is None else float(scale[0])


class FlatSGDUpdate(FlatAction):
    """SGDUpdate in one pass."""

    @staticmethod
    def run(
        ctx: Context,
        value: Floats,
        grad: Floats,
        velocity: Floats,
        *,
        learning_rate: float,
        momentum: float,
        nesterov: bool,
        weight_decay: float,
        scale: Floats | None = None,
    ) -> None:
        factor = _factor(scale)
        if not factor > 0:
            return
        numbers = (float(learning_rate), float(weight_decay), factor)
        if momentum == 0:
            _in_threads(ctx, (value, grad), kernels.sgd, *numbers)
        else:
            arrays = (value, grad, velocity)
            options = (*numbers, float(momentum), nesterov)
            _in_threads(ctx, arrays, kernels.momentum_sgd, *options)


class FlatAdamUpdate(FlatAction):
    """AdamUpdate in one pass."""

    @staticmethod
    def run(
        ctx: Context,
        *arrays: Floats,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        weight_decay: float,
        step: int,
        scale: Floats | None = None,
    ) -> None:
        from_mean = learning_rate / (1 - beta_1**step)
        kept = 1 - learning_rate * weight_decay
        options = (beta_1, beta_2, _correction(beta_2, step), epsilon, kept, from_mean, 0.0)
        _adam(ctx, arrays, scale, options)


class FlatNadamUpdate(FlatAction):
    """NadamUpdate in one pass."""

    @staticmethod
    def run(
        ctx: Context,
        *arrays: Floats,
        learning_rate: float,
        beta_1: float,
        beta_2: float,
        epsilon: float,
        momentum: float,
        next_momentum: float,
        product: float,
        weight_decay: float,
        step: int,
        scale: Floats | None = None,
    ) -> None:
        from_mean = learning_rate * next_momentum / (1 - product * next_momentum)
        from_grad = learning_rate * (1 - momentum) / (1 - product)
        kept = 1 - learning_rate * weight_decay
        options = (beta_1, beta_2, _correction(beta_2, step), epsilon, kept, from_mean, from_grad)
        _adam(ctx, arrays, scale, options)


def _correction(beta_2: float, step: int) -> float:
    """What undoes the start at zero of the root of the second average."""
    return float((1 - beta_2**step) ** -0.5)


def _adam(
    ctx: Context, arrays: tuple[Floats, ...], scale: Floats | None, options: tuple[float, ...]
) -> None:
    factor = _factor(scale)
    if factor > 0:
        _in_threads(ctx, arrays, kernels.adam, factor, *map(float, options))


class FlatRMSpropUpdate(FlatAction):
    """RMSpropUpdate in one pass."""

    @staticmethod
    def run(
        ctx: Context,
        value: Floats,
        grad: Floats,
        square: Floats,
        *others: Floats,
        learning_rate: float,
        rho: float,
        momentum: float,
        epsilon: float,
        centered: bool,
        weight_decay: float,
        scale: Floats | None = None,
    ) -> None:
        factor = _factor(scale)
        if not factor > 0:
            return
        mean = others[0] if centered else NONE
        velocity = others[-1] if momentum > 0 else NONE
        kept = 1 - learning_rate * weight_decay
        numbers = (factor, rho, learning_rate, epsilon, momentum, kept)
        arrays = (value, grad, square, mean, velocity)
        _in_threads(ctx, arrays, kernels.rmsprop, *map(float, numbers), centered)


class FlatAverageUpdate(FlatAction):
    """AverageUpdate in one pass."""

    @staticmethod
    def run(ctx: Context, average: Floats, value: Floats, *, decay: float) -> None:
        _in_threads(ctx, (average, value), kernels.average, float(decay))


class FlatClipGradient(FlatAction):
    """ClipGradient in one pass."""

    @staticmethod
    def run(ctx: Context, grad: Floats, *, limit: float) -> None:
        _in_threads(ctx, (grad,), kernels.clip, float(limit))


class FlatGradientScale(FlatAction):
    """GradientScale; the pieces' sums of squares are joined in their order."""

    @staticmethod
    def run(ctx: Context, grad: Floats, *, max_norm: float) -> Array:
        pieces = cut(ctx, grad.size, grad.size // VECTOR)
        squares = dict.fromkeys((piece.start for piece in pieces), 0.0)

        def work(piece: slice) -> None:
            squares[piece.start] = kernels.sum_of_squares(grad, piece.start, piece.stop)

        in_threads(ctx, work, pieces)
        return clipping_scale(np, np.array([sum(squares.values())]), max_norm, FLOAT32)
