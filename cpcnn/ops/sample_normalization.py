"""Normalisation of every sample by itself: layer and group normalisation."""

from __future__ import annotations

import math

from ..core.context import Context
from ..core.typing import Array, Namespace, Saved
from .table import Op


class SampleNorm(Op):
    """What both share, once the axes to normalise over are told."""

    @staticmethod
    def normalise(
        ctx: Context,
        x: Array,
        gamma: Array | None,
        beta: Array | None,
        epsilon: float,
        shape: tuple[int, ...],
        over: tuple[int, ...],
        own: int,
    ) -> tuple[Array, Saved]:
        """Normalise x, seen in `shape`, over the axes `over`.

        gamma and beta have the last `own` axes of x.
        """
        xp = ctx.xp
        seen = xp.reshape(x, shape)
        mean, scale = _statistics(xp, seen, over, epsilon)
        y = xp.reshape((seen - mean) * scale, x.shape)
        return _affine(y, gamma, beta), (x, gamma, beta is not None, mean, scale, shape, over, own)

    @staticmethod
    def backward(ctx: Context, dy: Array, saved: Saved) -> tuple[Array | None, ...]:
        """Return (dx, dgamma, dbeta), None for what was not there."""
        x, gamma, has_beta, mean, scale, shape, over, own = saved
        xp = ctx.xp
        normalised = (xp.reshape(x, shape) - mean) * scale
        weighted = xp.reshape(dy if gamma is None else dy * gamma, shape)
        dx = xp.reshape(_gradient(xp, weighted, normalised, scale, over), x.shape)
        before = tuple(range(x.ndim - own))
        dgamma = None
        if gamma is not None:
            dgamma = xp.sum(dy * xp.reshape(normalised, x.shape), axis=before)
        return dx, dgamma, xp.sum(dy, axis=before) if has_beta else None


class LayerNorm(SampleNorm):
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
        rows = (-1, math.prod(x.shape[-axes:]))
        return SampleNorm.normalise(ctx, x, gamma, beta, epsilon, rows, over=(1,), own=axes)


class GroupNorm(SampleNorm):
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
        runs = _runs(x, groups)
        return SampleNorm.normalise(ctx, x, gamma, beta, epsilon, runs, over=(1, 3), own=1)


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
