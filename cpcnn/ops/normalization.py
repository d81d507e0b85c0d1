"""Batch normalisation (Ioffe and Szegedy, 2015, arXiv:1502.03167)."""

from __future__ import annotations

from ..core.context import Context
from ..core.typing import Array, Saved
from .activations import activate, get_activation
from .table import Op


class BatchNorm(Op):
    """y = activation(gamma * (x - mean) / sqrt(variance + epsilon) + beta + residual).

    x (..., C); gamma and beta (C,) or None; residual like x or None. In training the statistics
    are the batch's (variance without Bessel's correction, as in Keras) and `running_mean` and
    `running_variance` (C,) are updated in place: running = momentum * running + (1 - momentum) *
    batch. Otherwise they are used as they are.
    """

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
        xp = ctx.xp
        mean, variance = running_mean, running_variance
        if ctx.training:
            axes = tuple(range(x.ndim - 1))
            mean = xp.mean(x, axis=axes)
            variance = xp.mean((x - mean) ** 2, axis=axes)
            running_mean[...] = momentum * running_mean + (1 - momentum) * mean
            running_variance[...] = momentum * running_variance + (1 - momentum) * variance
        scale = 1 / xp.sqrt(variance + epsilon)
        y = (x - mean) * scale
        if gamma is not None:
            y = y * gamma
        if beta is not None:
            y = y + beta
        if residual is not None:
            y = y + residual
        y, last = activate(xp, y, activation)
        # copies: the running statistics change before backward runs
        mean, scale = xp.asarray(mean, copy=True), xp.asarray(scale, copy=True)
        kept = (x, gamma, beta is not None, mean, scale, ctx.training)
        return y, (*kept, activation, residual is not None, last)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, ...]:
        """Return (dx, dgamma, dbeta, dresidual), None for what was not there."""
        x, gamma, has_beta, mean, scale, training, activation, has_residual, last = saved
        xp = ctx.xp
        dy = get_activation(activation).backward(xp, dy, last)
        axes = tuple(range(x.ndim - 1))
        normalised = (x - mean) * scale
        sum_dy = xp.sum(dy, axis=axes)
        sum_dy_x = xp.sum(dy * normalised, axis=axes)
        factor = scale if gamma is None else scale * gamma
        if training:
            count = x.size // x.shape[-1]
            dx = factor * (dy - sum_dy / count - normalised * (sum_dy_x / count))
        else:
            dx = factor * dy
        dgamma = None if gamma is None else sum_dy_x
        return dx, dgamma, sum_dy if has_beta else None, dy if has_residual else None
