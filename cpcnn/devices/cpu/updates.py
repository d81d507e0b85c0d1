"""Optimizer updates: the reference on blocks that fit the cache, in threads."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...core.context import Context
from ...ops.table import Action
from ...ops.updates import AdamUpdate, SGDUpdate
from .elementwise import BLOCK
from .workers import in_threads


def _in_blocks(update: type[Action], ctx: Context, arrays: Any, options: dict[str, Any]) -> None:
    size = arrays[0].shape[0]
    blocks = [slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK)]

    def work(block: slice) -> None:
        update.run(ctx, *(array[block] for array in arrays), **options)

    in_threads(ctx, work, blocks)


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
