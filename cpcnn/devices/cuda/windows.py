"""A window's geometry as kernels take it."""

from __future__ import annotations

from ...core.typing import Shape
from ...core.window import Window


def window_arguments(window: Window, shape: Shape) -> dict[str, int]:
    """Return the arguments that pooling and convolution kernels share, for images of a shape."""
    height, width = shape[1], shape[2]
    out_height, out_width = window.output(height, width)
    (top, _), (left, _) = window.padding
    return {
        "height": height,
        "width": width,
        "out_height": out_height,
        "out_width": out_width,
        "kernel_h": window.kernel[0],
        "kernel_w": window.kernel[1],
        "stride_h": window.stride[0],
        "stride_w": window.stride[1],
        "dilation_h": window.dilation[0],
        "dilation_w": window.dilation[1],
        "top": top,
        "left": left,
    }
