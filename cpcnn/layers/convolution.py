"""Convolution, and what all layers of its family share."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.errors import ShapeError
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..core.window import Padding, Pair, Window, as_pair
from ..ops.activations import get_activation
from .base import Layer, require_channels_last, require_image, require_positive
from .initializers import InitializerLike, get_initializer


class Convolution2D(Layer):
    """What convolutions share: their options, checked, their window and their bias.

    The dataclass fields are each layer's own, because Keras orders them differently.
    """

    kernel_size: int | Pair
    strides: int | Pair
    padding: Padding
    data_format: str | None
    dilation_rate: int | Pair
    activation: str | None
    use_bias: bool
    bias_initializer: InitializerLike
    bias: Param | None

    def __post_init__(self) -> None:
        require_channels_last(self.data_format, type(self).__name__)
        get_activation(self.activation)
        self.kernel_size = as_pair(self.kernel_size, "kernel_size")
        self.strides = as_pair(self.strides, "strides")
        self.dilation_rate = as_pair(self.dilation_rate, "dilation_rate")

    def add_bias(self, filters: int) -> None:
        if self.use_bias:
            self.bias = self.add_param(
                "bias", (filters,), get_initializer(self.bias_initializer), decay=False
            )

    def window(self, height: int, width: int) -> Window:
        """The window's geometry on an input of this size."""
        return Window.fit(
            height,
            width,
            as_pair(self.kernel_size, "kernel_size"),
            as_pair(self.strides, "strides"),
            self.padding,
            as_pair(self.dilation_rate, "dilation_rate"),
        )


@dataclass(eq=False)
class Conv2D(Convolution2D):
    """Two-dimensional convolution: (H, W, Cin) -> (OH, OW, filters).

    Besides Keras' "valid" and "same", `padding` may be a pixel count, or pixel counts per axis or
    per side ((top, bottom), (left, right)). The kernel has shape (KH, KW, Cin / groups, filters).
    """

    filters: int
    kernel_size: int | Pair
    strides: int | Pair = (1, 1)
    padding: Padding = "valid"
    data_format: str | None = None
    dilation_rate: int | Pair = (1, 1)
    groups: int = 1
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"

    def __post_init__(self) -> None:
        self.filters = require_positive(self.filters, "filters", "Conv2D")
        self.groups = require_positive(self.groups, "groups", "Conv2D")
        super().__post_init__()
        self.kernel: Param | None = None
        self.bias = None

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "Conv2D")
        if channels % self.groups or self.filters % self.groups:
            raise ShapeError(
                f"{channels} input channels and {self.filters} filters "
                f"cannot both be divided into {self.groups} groups."
            )
        kernel_shape = (*as_pair(self.kernel_size, ""), channels // self.groups, self.filters)
        self.kernel = self.add_param(
            "kernel", kernel_shape, get_initializer(self.kernel_initializer)
        )
        self.add_bias(self.filters)
        return (*self.window(height, width).output(height, width), self.filters)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.conv2d(
            x,
            ctx.use(self.kernel),
            ctx.use(self.bias),
            self.window(x.shape[1], x.shape[2]),
            groups=self.groups,
            activation=self.activation,
        )

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx, dw, db = ctx.ops.backward(dy, saved)
        self.accumulate(kernel=dw, bias=db)
        return dx
