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
        dtype: str = "float32",
    ) -> NDArray[Any]:
        result = ctx.empty(images.shape, dtype)
        per_image = {"crop": crop, "flip": flip, "affine": affine}

        def work(rows: slice) -> None:
            part = {name: None if v is None else v[rows] for name, v in per_image.items()}
            result[rows] = InputStage.run(ctx, images[rows], mean, std, dtype=dtype, **part)

        in_threads(ctx, work, cut(images.shape[0], images.size))
        return result
