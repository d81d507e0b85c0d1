"""Convolution of each channel by itself, alone or followed by a 1×1 convolution."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..core.window import Padding, Pair, Window, as_pair
from .base import require_image, require_positive
from .convolution import Convolution2D
from .initializers import InitializerLike, get_initializer


class ChannelwiseConvolution2D(Convolution2D):
    """What both layers share: `depth_multiplier` outputs of every channel, one after the other.

    Output c * depth_multiplier + m is channel c under depthwise_kernel[:, :, c, m].
    """

    depth_multiplier: int
    depthwise_initializer: InitializerLike
    depthwise_kernel: Param | None

    def __post_init__(self) -> None:
        self.depth_multiplier = require_positive(
            self.depth_multiplier, "depth_multiplier", type(self).__name__
        )
        super().__post_init__()

    def add_depthwise_kernel(self, channels: int) -> None:
        size = as_pair(self.kernel_size, "kernel_size")
        self.depthwise_kernel = self.add_param(
            "depthwise_kernel",
            (*size, channels, self.depth_multiplier),
            get_initializer(self.depthwise_initializer),
        )

    def grouped_kernel(self, ctx: Context) -> Array:
        """The kernel as that of a convolution with a group for each channel."""
        kernel = ctx.use(self.depthwise_kernel)
        assert kernel is not None
        height, width, channels, multiplier = kernel.shape
        return ctx.xp.reshape(kernel, (height, width, 1, channels * multiplier))

    def accumulate_grouped(self, dw: Array, ctx: Context) -> None:
        """Add the gradient of `grouped_kernel`."""
        param = self.depthwise_kernel
        assert param is not None
        param.accumulate(ctx.xp.reshape(dw, param.shape))


@dataclass(eq=False)
class DepthwiseConv2D(ChannelwiseConvolution2D):
    """A convolution of each channel by itself: (H, W, C) -> (OH, OW, C * depth_multiplier).

    The parameter `depthwise_kernel` has shape (KH, KW, C, depth_multiplier); `padding` is that of
    Conv2D.
    """

    kernel_size: int | Pair
    strides: int | Pair = (1, 1)
    padding: Padding = "valid"
    depth_multiplier: int = 1
    data_format: str | None = None
    dilation_rate: int | Pair = (1, 1)
    activation: str | None = None
    use_bias: bool = True
    depthwise_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"

    def __post_init__(self) -> None:
        super().__post_init__()
        self.depthwise_kernel = None
        self.bias = None

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "DepthwiseConv2D")
        filters = channels * self.depth_multiplier
        self.add_depthwise_kernel(channels)
        self.add_bias(filters)
        return (*self.window(height, width).output(height, width), filters)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.conv2d(
            x,
            self.grouped_kernel(ctx),
            ctx.use(self.bias),
            self.window(x.shape[1], x.shape[2]),
            groups=x.shape[3],
            activation=self.activation,
        )

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx, dw, db = ctx.ops.backward(dy, saved)
        self.accumulate_grouped(dw, ctx)
        self.accumulate(bias=db)
        return dx


@dataclass(eq=False)
class SeparableConv2D(ChannelwiseConvolution2D):
    """A depthwise convolution, then a 1×1 convolution: (H, W, C) -> (OH, OW, filters).

    Parameters are `depthwise_kernel` (KH, KW, C, depth_multiplier), `pointwise_kernel`
    (1, 1, C * depth_multiplier, filters) and `bias`. Between the two there is neither bias nor
    activation. `padding` is that of Conv2D (Chollet, 2016, arXiv:1610.02357).
    """

    filters: int
    kernel_size: int | Pair
    strides: int | Pair = (1, 1)
    padding: Padding = "valid"
    data_format: str | None = None
    dilation_rate: int | Pair = (1, 1)
    depth_multiplier: int = 1
    activation: str | None = None
    use_bias: bool = True
    depthwise_initializer: InitializerLike = "glorot_uniform"
    pointwise_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"

    def __post_init__(self) -> None:
        self.filters = require_positive(self.filters, "filters", "SeparableConv2D")
        super().__post_init__()
        self.depthwise_kernel = None
        self.pointwise_kernel: Param | None = None
        self.bias = None

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "SeparableConv2D")
        self.add_depthwise_kernel(channels)
        self.pointwise_kernel = self.add_param(
            "pointwise_kernel",
            (1, 1, channels * self.depth_multiplier, self.filters),
            get_initializer(self.pointwise_initializer),
        )
        self.add_bias(self.filters)
        return (*self.window(height, width).output(height, width), self.filters)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        between, depthwise = ctx.ops.conv2d(
            x,
            self.grouped_kernel(ctx),
            None,
            self.window(x.shape[1], x.shape[2]),
            groups=x.shape[3],
        )
        y, pointwise = ctx.interior.ops.conv2d(
            between,
            ctx.use(self.pointwise_kernel),
            ctx.use(self.bias),
            Window((1, 1)),
            activation=self.activation,
        )
        return y, (depthwise, pointwise)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        depthwise, pointwise = saved
        dbetween, dw, db = ctx.interior.ops.backward(dy, pointwise)
        self.accumulate(pointwise_kernel=dw, bias=db)
        dx, dw, _ = ctx.ops.backward(dbetween, depthwise)
        self.accumulate_grouped(dw, ctx)
        return dx
