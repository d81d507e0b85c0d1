"""The input stage: the reference on slices of the batch, in threads."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ...core.context import Context
from ...ops.input_stage import InputStage
from ...ops.table import Action
from .workers import cut, in_threads


class ParallelInputStage(Action):
    """InputStage, cut along the batch."""

    @staticmethod
    def run(
        ctx: Context,
        images: NDArray[Any],
        mean: NDArray[Any],
        std: NDArray[Any],
        *,
        crop: NDArray[Any] | None = None,
        flip: NDArray[Any] | None = None,
        affine: NDArray[Any] | None = None,
        index: NDArray[Any] | None = None,
        channels: int | None = None,
        dtype: str = "float32",
    ) -> NDArray[Any]:
        _, height, width, found = images.shape
        count = images.shape[0] if index is None else index.shape[0]
        result = ctx.empty((count, height, width, channels or found), dtype)
        per_image = {"crop": crop, "flip": flip, "affine": affine, "index": index}

        def work(rows: slice) -> None:
            part = {name: None if v is None else v[rows] for name, v in per_image.items()}
            batch = images[rows] if index is None else images
            result[rows] = InputStage.run(
                ctx, batch, mean, std, channels=channels, dtype=dtype, **part
            )

        in_threads(ctx, work, cut(count, result.size))
        return result
