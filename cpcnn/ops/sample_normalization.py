"""Normalisation of every sample by itself: layer and group normalisation."""

from __future__ import annotations

import math

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from .table import Op


class LayerNorm(Op):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta over the last `axes` axes.

    x (..., A1, …, Ak); gamma and beta (A1, …, Ak) or None, where k is `axes`. Mean and variance
    (without Bessel's correction) are those of the k axes, at every place of the axes before them
    (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        *,
        epsilon: float,
        axes: int = 1,
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        rows = xp.reshape(x, (-1, math.prod(x.shape[-axes:])))
        mean, scale = _statistics(xp, rows, (1,), epsilon)
        y = xp.reshape((rows - mean) * scale, x.shape)
        return _affine(y, gamma, beta), (x, gamma, beta is not None, mean, scale, axes)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, ...]:
        """Return (dx, dgamma, dbeta), None for what was not there."""
        x, gamma, has_beta, mean, scale, axes = saved
        xp = ctx.xp
        shape = (-1, math.prod(x.shape[-axes:]))
        normalised = (xp.reshape(x, shape) - mean) * scale
        weighted = xp.reshape(dy if gamma is None else dy * gamma, shape)
        dx = xp.reshape(_gradient(xp, weighted, normalised, scale, (1,)), x.shape)
        before = tuple(range(x.ndim - axes))
        dgamma = None
        if gamma is not None:
            dgamma = xp.sum(dy * xp.reshape(normalised, x.shape), axis=before)
        return dx, dgamma, xp.sum(dy, axis=before) if has_beta else None


class GroupNorm(Op):
    """y = gamma * (x - mean) / sqrt(variance + epsilon) + beta over groups of channels.

    x (N, ..., C); gamma and beta (C,) or None. The channels are cut into `groups` runs of one
    length; mean and variance (without Bessel's correction) are those of a run in all pixels of one
    sample (Wu and He, 2018, arXiv:1803.08494). `groups` equal to C is instance normalisation.
    """

    @staticmethod
    def forward(
        ctx: Context,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        *,
        groups: int,
        epsilon: float,
    ) -> tuple[Array, Saved]:
        xp = ctx.xp
        runs = xp.reshape(x, _runs(x, groups))
        mean, scale = _statistics(xp, runs, (1, 3), epsilon)
        y = xp.reshape((runs - mean) * scale, x.shape)
        return _affine(y, gamma, beta), (x, gamma, beta is not None, mean, scale, groups)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, ...]:
        """Return (dx, dgamma, dbeta), None for what was not there."""
        x, gamma, has_beta, mean, scale, groups = saved
        xp = ctx.xp
        shape = _runs(x, groups)
        normalised = (xp.reshape(x, shape) - mean) * scale
        weighted = xp.reshape(dy if gamma is None else dy * gamma, shape)
        dx = xp.reshape(_gradient(xp, weighted, normalised, scale, (1, 3)), x.shape)
        before = tuple(range(x.ndim - 1))
        dgamma = None
        if gamma is not None:
            dgamma = xp.sum(dy * xp.reshape(normalised, x.shape), axis=before)
        return dx, dgamma, xp.sum(dy, axis=before) if has_beta else None


def _runs(x: Array, groups: int) -> tuple[int, int, int, int]:
    """(N, pixels, groups, channels of a group)."""
    channels = x.shape[-1]
    return x.shape[0], math.prod(x.shape[1:-1]), groups, channels // groups


def _statistics(
    xp: Namespace, x: Array, axes: tuple[int, ...], epsilon: float
) -> tuple[Array, Array]:
    """The mean and 1 / sqrt(variance + epsilon), in two passes: a large mean costs no digits."""
    mean = xp.mean(x, axis=axes, keepdims=True)
    variance = xp.mean((x - mean) ** 2, axis=axes, keepdims=True)
    return mean, 1 / xp.sqrt(variance + epsilon)


def _affine(y: Array, gamma: Array | None, beta: Array | None) -> Array:
    if gamma is not None:
        y = y * gamma
    return y if beta is None else y + beta


def _gradient(
    xp: Namespace, dy: Array, normalised: Array, scale: Array, axes: tuple[int, ...]
) -> Array:
    """The gradient of (x - mean) * scale, whose mean and scale depend on x as well."""
    mean_dy = xp.mean(dy, axis=axes, keepdims=True)
    mean_dy_x = xp.mean(dy * normalised, axis=axes, keepdims=True)
    return scale * (dy - mean_dy - normalised * mean_dy_x)
