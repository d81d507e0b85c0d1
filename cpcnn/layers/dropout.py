"""Layers that drop values in training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.options import check_number, check_seed
from ..core.typing import Array, Saved, Shape
from .base import Layer, require_channels_last, require_image


class Dropping(Layer):
    """What layers that drop have in common: a rate, and a mask that may be smaller than x."""

    rate: float
    seed: int | None

    def __post_init__(self) -> None:
        check_number(self, "rate", least=0, most=1)
        check_seed(self)

    def mask_shape(self, shape: Shape) -> Shape:
        """The shape of what is drawn for x, which is repeated along its axes of size 1."""
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        if not ctx.training or self.rate == 0:
            return x, None
        rng = ctx.rng.child(self.path)
        if self.seed is not None:
            rng = replace(rng, seed=self.seed)
        shape = self.mask_shape(x.shape)
        if shape == x.shape:
            y, record = ctx.ops.dropout(x, self.rate, rng)
            return y, (record, None)
        mask, _ = ctx.ops.dropout(ctx.xp.ones(shape, dtype=x.dtype), self.rate, rng)
        return x * mask, (None, mask) if ctx.grad else None

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        if saved is None:
            return dy
        record, mask = saved
        return dy * mask if record is None else ctx.ops.backward(dy, record)


@dataclass(eq=False)
class Dropout(Dropping):
    """Zero each value with probability `rate` in training and scale the others up.

    `noise_shape`, with the batch in front, is the shape of what is drawn: axes of size 1 are
    dropped or kept as a whole, None stands for the input's size. Each layer of a model draws from
    a stream of its own, named by its path; `seed` replaces the seed of the training.
    """

    rate: float
    noise_shape: tuple[int | None, ...] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.noise_shape is None:
            return
        sizes: Any = self.noise_shape
        valid = isinstance(sizes, (tuple, list)) and all(
            size is None or (type(size) is int and size > 0) for size in sizes
        )
        if not valid:
            raise UsageError(
                f"Dropout: noise_shape must be a tuple of sizes and None, not {sizes!r}."
            )
        self.noise_shape = tuple(sizes)

    def build(self, shape: Shape) -> Shape:
        if self.noise_shape is None:
            return shape
        batch, *sizes = self.noise_shape or (0,)
        fits = len(sizes) == len(shape) and batch in (None, 1)
        if not fits or any(n not in (None, 1, size) for n, size in zip(sizes, shape, strict=True)):
            raise ShapeError(
                f"a noise_shape of {self.noise_shape} does not fit batches of shape "
                f"{('N', *shape)}.",
                suggestion="Every size is None, 1 or the input's, that of the batch None or 1.",
            )
        return shape

    def mask_shape(self, shape: Shape) -> Shape:
        sizes = self.noise_shape or shape
        return tuple(size or full for size, full in zip(sizes, shape, strict=True))


@dataclass(eq=False)
class SpatialDropout2D(Dropping):
    """Zero whole channels of images with probability `rate` in training, scale the others up.

    Tompson et al., "Efficient object localization using convolutional networks", 2015,
    arXiv:1411.4280. Otherwise as Dropout.
    """

    rate: float
    data_format: str | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_channels_last(self.data_format, "SpatialDropout2D")

    def build(self, shape: Shape) -> Shape:
        return require_image(shape, "SpatialDropout2D")

    def mask_shape(self, shape: Shape) -> Shape:
        return (shape[0], 1, 1, shape[-1])
