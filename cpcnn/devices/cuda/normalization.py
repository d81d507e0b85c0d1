"""Batch normalisation on the GPU: `kernels/batch_norm.cu`."""

from __future__ import annotations

from typing import Any

from ...core.context import Context
from ...core.typing import Array, Saved
from ...ops.table import Op
from .element_types import c_type_of, dtype_name, is_floating
from .elementwise import can_fuse, code_of, finish, gradient_before, is_linear, runs_after
from .geometry import joins, linear, row_parts, sweep
from .kernel import Kernel, contiguous, each, vector_width, vectorised
from .reductions import accumulator_dtype, join

STATISTICS = ("float", "double")  # are of no other type

batch_norm_moments = Kernel("batch_norm.cu", "batch_norm_moments", vectorised())
batch_norm_statistics = Kernel("batch_norm.cu", "batch_norm_statistics", each())
batch_norm_running = Kernel("batch_norm.cu", "batch_norm_running", each(STATISTICS))
batch_norm_forward = Kernel("batch_norm.cu", "batch_norm_forward", vectorised())
batch_norm_gradient_sums = Kernel("batch_norm.cu", "batch_norm_gradient_sums", vectorised())
batch_norm_backward = Kernel("batch_norm.cu", "batch_norm_backward", vectorised())


class FusedBatchNorm(Op):
    """Statistics in one pass, all the rest of forward in another; backward in two.

    Mean and scale = 1 / sqrt(variance + epsilon) are kept in the type of sums: float32, or float64
    for float64. So must the running statistics be.
    """

    @staticmethod
    def supports(
        ctx: Context,
        x: Any,
        gamma: Any,
        beta: Any,
        running_mean: Any,
        running_variance: Any,
        *,
        momentum: float,
        epsilon: float,
        activation: str | None = None,
        residual: Any = None,
    ) -> bool:
        if not (is_floating(x) and x.ndim >= 1 and can_fuse(activation)):
            return False
        if ctx.training and not x.size:
            return False  # there are no statistics of nothing: whatever the reference makes of it
        same = residual is None or (residual.dtype == x.dtype and residual.shape == x.shape)
        statistics = (running_mean, running_variance)
        return same and all(dtype_name(array) == accumulator_dtype(x) for array in statistics)

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        running_mean: Array,
        running_variance: Array,
        *,
        momentum: float,
        epsilon: float,
        activation: str | None = None,
        residual: Array | None = None,
    ) -> tuple[Array, Saved]:
        x = contiguous(ctx, x)
        dtypes = tuple(None if vector is None else vector.dtype for vector in (gamma, beta))
        gamma, beta = (_widened(ctx, vector, running_mean) for vector in (gamma, beta))
        if ctx.training:
            mean, scale = _batch_statistics(
                ctx, x, running_mean, running_variance, momentum, epsilon
            )
        else:
            mean, scale = _running_statistics(ctx, running_mean, running_variance, epsilon)
        y = ctx.empty(x.shape, x.dtype)
        residual = None if residual is None else contiguous(ctx, residual)
        channels = x.shape[-1]
        rows = x.size // channels
        vec = vector_width(ctx, channels, x, residual, y)
        batch_norm_forward(
            ctx,
            sweep(rows, channels // vec),
            (c_type_of(x), vec),
            x=x,
            residual=residual,
            y=y,
            mean=mean,
            scale=scale,
            gamma=gamma,
            beta=beta,
            rows=rows,
            vectors=channels // vec,
            activation=code_of(activation),
        )
        if runs_after(activation):
            finish(ctx, y, None, activation)
        kept = (x, gamma, dtypes, mean, scale, ctx.training, activation)
        return y, (*kept, residual is not None, None if is_linear(activation) else y)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Any, ...]:
        x, gamma, dtypes, mean, scale, training, activation, has_residual, y = saved
        if runs_after(activation):
            dy, y, activation = gradient_before(ctx, dy, y, activation), None, None
        dy = contiguous(ctx, dy)
        # with a residual the gradient before the activation is a result: the second pass reads it
        gradient = None
        if has_residual:
            gradient = dy if y is None else ctx.empty(x.shape, x.dtype)
        sums = _gradient_sums(ctx, dy, y, x, mean, scale, gradient, activation)
        if gradient is not None:
            dy, y, activation = gradient, None, None
        dx = ctx.empty(x.shape, x.dtype)
        channels = x.shape[-1]
        rows = x.size // channels
        vec = vector_width(ctx, channels, dy, y, x, dx)
        batch_norm_backward(
            ctx,
            sweep(rows, channels // vec),
            (c_type_of(x), vec),
            dy=dy,
            y=y,
            x=x if training else None,
            mean=mean,
            scale=scale,
            gamma=gamma,
            sums=sums if training else None,
            dx=dx,
            rows=rows,
            vectors=channels // vec,
            activation=code_of(activation),
        )
        dgamma, dbeta = (
            None if dtype is None else ctx.xp.astype(vector, dtype, copy=False)
            for vector, dtype in zip((sums[1], sums[0]), dtypes, strict=True)
        )
        return dx, dgamma, dbeta, gradient


def _batch_statistics(
    ctx: Context,
    x: Array,
    running_mean: Array,
    running_variance: Array,
    momentum: float,
    epsilon: float,
) -> tuple[Array, Array]:
    """Return mean and scale of the batch, and bring the running statistics on."""
    channels = x.shape[-1]
    rows = x.size // channels
    vec = vector_width(ctx, channels, x)
    launch, count, part_rows = row_parts(rows, channels // vec)
    parts = ctx.empty((count, 2, channels), running_mean.dtype)
    batch_norm_moments(
        ctx,
        launch,
        (c_type_of(x), vec),
        x=x,
        parts=parts,
        rows=rows,
        vectors=channels // vec,
        part_rows=part_rows,
    )
    mean = ctx.empty((channels,), running_mean.dtype)
    scale = ctx.empty((channels,), running_mean.dtype)
    new_mean, new_variance = contiguous(ctx, running_mean), contiguous(ctx, running_variance)
    batch_norm_statistics(
        ctx,
        joins(channels),
        (c_type_of(x),),
        x=x,
        parts=parts,
        running_mean=new_mean,
        running_variance=new_variance,
        mean=mean,
        scale=scale,
        rows=rows,
        channels=channels,
        count=count,
        part_rows=part_rows,
        momentum=momentum,
        epsilon=epsilon,
    )
    for running, new in ((running_mean, new_mean), (running_variance, new_variance)):
        if new is not running:
            running[...] = new
    return mean, scale


def _running_statistics(
    ctx: Context, running_mean: Array, running_variance: Array, epsilon: float
) -> tuple[Array, Array]:
    """Return copies of the running mean and of the scale: later changes do not reach them."""
    channels = running_mean.shape[0]
    mean = ctx.empty((channels,), running_mean.dtype)
    scale = ctx.empty((channels,), running_mean.dtype)
    batch_norm_running(
        ctx,
        linear(channels),
        (c_type_of(mean),),
        running_mean=contiguous(ctx, running_mean),
        running_variance=contiguous(ctx, running_variance),
        mean=mean,
        scale=scale,
        channels=channels,
        epsilon=epsilon,
    )
    return mean, scale


def _gradient_sums(
    ctx: Context,
    dy: Array,
    y: Array | None,
    x: Array,
    mean: Array,
    scale: Array,
    gradient: Array | None,
    activation: str | None,
) -> Array:
    """Sum the gradient before the activation, and its product with (x - mean) * scale: (2, C).

    The gradient itself is written to `gradient`, unless it is dy.
    """
    channels = x.shape[-1]
    rows = x.size // channels
    written = None if gradient is dy else gradient
    vec = vector_width(ctx, channels, dy, y, x, written)
    launch, count, part_rows = row_parts(rows, channels // vec)
    parts = ctx.empty((count, 2, channels), mean.dtype)
    batch_norm_gradient_sums(
        ctx,
        launch,
        (c_type_of(x), vec),
        dy=dy,
        y=y,
        x=x,
        mean=mean,
        scale=scale,
        gradient=written,
        parts=parts,
        rows=rows,
        vectors=channels // vec,
        part_rows=part_rows,
        activation=code_of(activation),
    )
    return join(ctx, parts, mean.dtype)


def _widened(ctx: Context, vector: Array | None, like: Array) -> Array | None:
    """Return gamma or beta as kernels take them: contiguous, in the type of sums."""
    if vector is None:
        return None
    return contiguous(ctx, ctx.xp.astype(vector, like.dtype, copy=False))
