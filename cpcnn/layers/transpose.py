"""Transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.context import Context
from ..core.errors import UsageError
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..core.window import Padding, Pair, Window, as_pair
from .base import require_image, require_positive
from .convolution import Convolution2D
from .initializers import InitializerLike, get_initializer


@dataclass(eq=False)
class Conv2DTranspose(Convolution2D):
    """The transpose of a convolution, which enlarges images: (H, W, Cin) -> (OH, OW, filters).

    Sizes are Keras': OH is H * stride with "same" and max(H * stride, (H - 1) * stride + extent)
    with "valid", where extent is (KH - 1) * dilation + 1; pixel counts as `padding` are taken off
    the latter. With `output_padding`, less than the stride, OH is
    (H - 1) * stride + extent + output_padding, and extent % 2 in place of extent with "same".
    The kernel has shape (KH, KW, filters, Cin). Other than in Keras, strides and dilation may both
    be more than one.
    """

    filters: int
    kernel_size: int | Pair
    strides: int | Pair = (1, 1)
    padding: Padding = "valid"
    data_format: str | None = None
    dilation_rate: int | Pair = (1, 1)
    activation: str | None = None
    use_bias: bool = True
    kernel_initializer: InitializerLike = "glorot_uniform"
    bias_initializer: InitializerLike = "zeros"
    output_padding: int | Pair | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        self.filters = require_positive(self.filters, "filters", "Conv2DTranspose")
        super().__post_init__()
        if self.output_padding is not None:
            self.output_padding = as_pair(self.output_padding, "output_padding", minimum=0)
            strides = as_pair(self.strides, "strides")
            if any(a >= b for a, b in zip(self.output_padding, strides, strict=True)):
                raise UsageError(
                    f"Conv2DTranspose: output_padding {self.output_padding} must be less than "
                    f"strides {strides}."
                )
        self.kernel: Param | None = None
        self.bias = None

    def build(self, shape: Shape) -> Shape:
        height, width, channels = require_image(shape, "Conv2DTranspose")
        self.kernel = self.add_param(
            "kernel",
            (*as_pair(self.kernel_size, "kernel_size"), self.filters, channels),
            get_initializer(self.kernel_initializer),
        )
        self.add_bias(self.filters)
        _, size = self.geometry(height, width)
        return (*size, self.filters)

    def geometry(self, height: int, width: int) -> tuple[Window, Pair]:
        """The window of the convolution that this is the transpose of, and the output's size."""
        extra = self.output_padding
        return Window.fit_transposed(
            height,
            width,
            as_pair(self.kernel_size, "kernel_size"),
            as_pair(self.strides, "strides"),
            self.padding,
            as_pair(self.dilation_rate, "dilation_rate"),
            None if extra is None else as_pair(extra, "output_padding", minimum=0),
        )

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.conv2d_transpose(
            x,
            ctx.use(self.kernel),
            ctx.use(self.bias),
            *self.geometry(x.shape[1], x.shape[2]),
            activation=self.activation,
        )

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        dx, dw, db = ctx.ops.backward(dy, saved)
        self.accumulate(kernel=dw, bias=db)
        return dx
