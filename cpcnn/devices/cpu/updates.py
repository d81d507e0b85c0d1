"""Optimizer updates: the reference on blocks that fit the cache, in threads."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.context import Context
from ...core.typing import Array
from ...ops.table import Action
from ...ops.updates import (
    AdamUpdate,
    AverageUpdate,
    ClipGradient,
    NadamUpdate,
    RMSpropUpdate,
    SGDUpdate,
    clipping_scale,
)
from .elementwise import BLOCK
from .workers import in_threads


def _blocks(size: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]


def _in_blocks(update: type[Action], ctx: Context, arrays: Any, options: dict[str, Any]) -> None:
    def work(block: slice) -> None:
        update.run(ctx, *(array[block] for array in arrays), **options)

    in_threads(ctx, work, _blocks(arrays[0].shape[0]))


class BlockedSGDUpdate(Action):
    """SGDUpdate, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(SGDUpdate, ctx, arrays, options)


class BlockedAdamUpdate(Action):
    """AdamUpdate, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(AdamUpdate, ctx, arrays, options)


class BlockedNadamUpdate(Action):
    """NadamUpdate, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(NadamUpdate, ctx, arrays, options)


class BlockedRMSpropUpdate(Action):
    """RMSpropUpdate, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(RMSpropUpdate, ctx, arrays, options)


class BlockedClipGradient(Action):
    """ClipGradient, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(ClipGradient, ctx, arrays, options)


class BlockedAverageUpdate(Action):
    """AverageUpdate, block by block."""

    @staticmethod
    def run(ctx: Context, *arrays: NDArray[Any], **options: Any) -> None:
        _in_blocks(AverageUpdate, ctx, arrays, options)


class BlockedGradientScale(Action):
    """GradientScale; the blocks' sums of squares are joined in their order."""

    @staticmethod
    def run(ctx: Context, grad: NDArray[Any], *, max_norm: float) -> Array:
        blocks = _blocks(grad.shape[0])
        squares = np.zeros(len(blocks))

        def work(block: slice) -> None:
            wide = grad[block].astype(np.float64)
            squares[block.start // BLOCK] = wide @ wide

        in_threads(ctx, work, blocks)
        return clipping_scale(np, np.array([squares.sum()]), max_norm, grad.dtype)
