"""The kernels whose bandwidth is measured, and how many bytes each cannot but move.

What is counted is every array that a kernel has to read or write, once for each pass that needs it:
the inputs, the results, and what one pass leaves for the next. Vectors of a number per channel are
left out. A kernel that reads a pixel several times because its windows overlap is charged once, and
what the caches save it shows as bandwidth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from cpcnn.core.context import Context
from cpcnn.core.window import Window

Shape: TypeAlias = tuple[int, ...]

FLOATS = ("float32", "float16", "bfloat16")
SIZES = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8": 1}
IMAGES = 512  # enough that no array fits an L2 cache of 50 MB
POOL = Window((2, 2), (2, 2))
TAPS = Window((3, 3), padding=((1, 1), (1, 1)))
FILTERS = 64
PARAMETERS = 11_173_962  # those of ResNet-18 for ten classes and small images


@dataclass(frozen=True)
class KernelCase:
    """Kernels that an op launches on an array `x` of a shape, by their names.

    `run(ctx, x)` calls the op, forward and backward where the kernels belong to that; `traffic`
    says how many bytes the kernels move, for a shape and the size of a computed element. x is of
    the dtype computed in, or of `stored`.
    """

    title: str
    shape: Shape
    kernels: tuple[str, ...]
    run: Callable[[Context, Any], object]
    traffic: Callable[[Shape, int], int]
    dtypes: tuple[str, ...] = FLOATS
    stored: str | None = None

    def bytes(self, dtype: str) -> int:
        return self.traffic(self.shape, SIZES[dtype])

    def of(self, images: int) -> KernelCase:
        """Return the same case on another number of images; flat arrays stay as they are."""
        return self if len(self.shape) == 1 else replace(self, shape=(images, *self.shape[1:]))


# ---- What the kernels move -------------------------------------------------------------------


def passes(count: int) -> Callable[[Shape, int], int]:
    """Traffic of kernels that read or write arrays like x, `count` of them together."""
    return lambda shape, size: count * math.prod(shape) * size


def column_traffic(shape: Shape, size: int) -> int:
    """Images on one side, on the other a column of all taps for each pixel."""
    taps = math.prod(TAPS.kernel)
    return (1 + taps) * math.prod(shape) * size


def max_pool_traffic(shape: Shape, size: int) -> int:
    """The large array on one side; on the other a number and a byte for each window."""
    images, height, width, channels = shape
    windows = images * math.prod(POOL.output(height, width)) * channels
    return math.prod(shape) * size + windows * (size + 1)


def input_traffic(shape: Shape, size: int) -> int:
    """A byte of each pixel and channel, and the number that is made of it."""
    return math.prod(shape) * (1 + size)


# ---- How they are called ---------------------------------------------------------------------


def convolve(ctx: Context, x: Any) -> tuple[Any, Any]:
    w = random_array(ctx, (*TAPS.kernel, x.shape[3], FILTERS), str(x.dtype))
    return ctx.ops.conv2d(x, w, None, TAPS)


def convolve_backward(ctx: Context, x: Any) -> None:
    y, record = convolve(ctx, x)
    ctx.ops.backward(y, record)


def convolve_pointwise(ctx: Context, x: Any) -> None:
    channels = x.shape[3]
    w = random_array(ctx, (1, 1, channels, channels), str(x.dtype))
    bias = random_array(ctx, (channels,), str(x.dtype))
    ctx.ops.conv2d(x, w, bias, Window((1, 1)), activation="relu")


def max_pool(ctx: Context, x: Any) -> tuple[Any, Any]:
    return ctx.ops.max_pool(x, POOL)


def max_pool_backward(ctx: Context, x: Any) -> None:
    y, record = max_pool(ctx, x)
    ctx.ops.backward(y, record)


def normalise(ctx: Context, x: Any, residual: Any = None) -> tuple[Any, Any]:
    gamma, beta, mean, variance = (
        random_array(ctx, (x.shape[3],), "float32", low=0.5) for _ in range(4)
    )
    return ctx.ops.batch_norm(
        x,
        gamma,
        beta,
        mean,
        variance,
        momentum=0.9,
        epsilon=1e-5,
        activation="relu",
        residual=residual,
    )


def normalise_and_add(ctx: Context, x: Any) -> tuple[Any, Any]:
    return normalise(ctx, x, residual=ctx.xp.asarray(x, copy=True))


def normalise_backward(ctx: Context, x: Any) -> None:
    _, record = normalise(ctx, x)
    ctx.ops.backward(ctx.xp.asarray(x, copy=True), record)


def normalise_and_add_backward(ctx: Context, x: Any) -> None:
    _, record = normalise_and_add(ctx, x)
    ctx.ops.backward(ctx.xp.asarray(x, copy=True), record)


def update_by_adam(ctx: Context, x: Any) -> None:
    gradient, first, second = (ctx.xp.asarray(x, copy=True) for _ in range(3))
    ctx.ops.adam_update(
        x,
        gradient,
        first,
        second * second,
        learning_rate=1e-3,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        weight_decay=0.05,
        step=1,
    )


def make_input(ctx: Context, images: Any, **augmentation: Any) -> None:
    channels = images.shape[3]
    mean, std = (ctx.device.put(np.full(channels, value, np.float32)) for value in (120, 60))
    rng = np.random.default_rng(0)
    crop = rng.integers(-4, 5, (len(images), 2)).astype(np.int32)
    flip = rng.integers(0, 2, len(images)).astype(bool)
    ctx.ops.input_stage(
        images,
        mean,
        std,
        crop=ctx.device.put(crop),
        flip=ctx.device.put(flip),
        dtype=ctx.policy.compute,
        **augmentation,
    )


def warp_input(ctx: Context, images: Any) -> None:
    angle = 0.1
    turn = [[np.cos(angle), -np.sin(angle), 1.5], [np.sin(angle), np.cos(angle), -1.5]]
    affine = np.broadcast_to(np.asarray(turn, np.float32), (len(images), 2, 3))
    make_input(ctx, images, affine=ctx.device.put(np.ascontiguousarray(affine)))


def random_array(ctx: Context, shape: Shape, dtype: str, *, low: float = -1.0) -> Any:
    """Return numbers from `low` to 1 (pixels for uint8); a block of them, again and again."""
    size = math.prod(shape)
    rng = np.random.default_rng(0)
    block = min(size, 1 << 20)
    if dtype == "uint8":
        values = rng.integers(0, 256, block, np.uint8)
    else:
        values = rng.uniform(low, 1, block)
    array = ctx.empty((size,), dtype)
    uploaded = ctx.device.put(values.astype(array.dtype))
    for first in range(0, size, block):
        array[first : first + block] = uploaded[: size - first]
    return ctx.xp.reshape(array, shape)


# ---- The cases -------------------------------------------------------------------------------

WIDE = (IMAGES, 32, 32, 64)
BATCH_NORM_BACKWARD = ("batch_norm_gradient_sums", "join_parts", "batch_norm_backward")
KERNEL_CASES = (
    KernelCase("im2col 3×3", WIDE, ("im2col",), convolve, column_traffic),
    KernelCase("im2col 3×3, stem", (IMAGES, 32, 32, 3), ("im2col",), convolve, column_traffic),
    KernelCase("col2im 3×3", WIDE, ("col2im",), convolve_backward, column_traffic),
    KernelCase("max pool 2×2", WIDE, ("max_pool_forward",), max_pool, max_pool_traffic),
    KernelCase(
        "max pool 2×2, backward", WIDE, ("max_pool_backward",), max_pool_backward, max_pool_traffic
    ),
    KernelCase(
        "batch norm, statistics",
        WIDE,
        ("batch_norm_moments", "batch_norm_statistics"),
        normalise,
        passes(1),
    ),
    KernelCase("batch norm + ReLU", WIDE, ("batch_norm_forward",), normalise, passes(2)),
    KernelCase(
        "batch norm + residual + ReLU",
        WIDE,
        ("batch_norm_forward",),
        normalise_and_add,
        passes(3),
    ),
    # dy, y and x in both passes, and dx
    KernelCase(
        "batch norm + ReLU, backward", WIDE, BATCH_NORM_BACKWARD, normalise_backward, passes(7)
    ),
    # dy, y, x and the residual's gradient; this gradient, x and dx
    KernelCase(
        "batch norm + residual + ReLU, backward",
        WIDE,
        BATCH_NORM_BACKWARD,
        normalise_and_add_backward,
        passes(7),
    ),
    KernelCase("bias + ReLU, in place", WIDE, ("bias_activation",), convolve_pointwise, passes(2)),
    # value, gradient and two moments; all but the gradient are written as well
    KernelCase(
        "Adam", (PARAMETERS,), ("adam_update",), update_by_adam, passes(7), dtypes=("float32",)
    ),
    KernelCase(
        "input: shift, flip",
        (IMAGES, 224, 224, 3),
        ("input_stage",),
        make_input,
        input_traffic,
        stored="uint8",
    ),
    KernelCase(
        "input: shift, flip, rotation",
        (IMAGES, 224, 224, 3),
        ("input_stage",),
        warp_input,
        input_traffic,
        stored="uint8",
    ),
)
