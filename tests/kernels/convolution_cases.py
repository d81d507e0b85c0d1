"""Small convolutions with everything that a window can have, and their parts by definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn.core.window import Window
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.ops.padding import pad, unpad

CHANNELS = [1, 2, 3, 4, 5, 8, 12, 16]


def instance(dtype: Any, wide: bool) -> tuple[str, int]:
    """The instance for a type: whole vectors, or one element."""
    c_type = C_TYPES[str(dtype)]
    return c_type, full_vector(c_type) if wide else 1


@st.composite
def windows(draw: Any) -> tuple[tuple[int, int, int], Window]:
    """A batch of images (N, H, W), and a window that fits: also larger than they are."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    stride = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (3, 2)]))
    pads = st.tuples(st.integers(0, 4), st.integers(0, 4))
    window = Window(kernel, stride, dilation, (draw(pads), draw(pads)))
    shape = (draw(st.integers(1, 4)), draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    assume(min(window.output(*shape[1:])) >= 1)
    return shape, window


def columns_of(x: NDArray[Any], window: Window, groups: int) -> NDArray[Any]:
    """Return the columns (G, N, OH, OW, KH, KW, C / G) of images, by copying them."""
    n, height, width, channels = x.shape
    out = window.output(height, width)
    columns = np.empty((groups, n, *out, *window.kernel, channels // groups), x.dtype)
    padded = pad(np, x, window.padding)
    for i, j, rows, across in window.taps(height, width):
        for group, part in enumerate(np.split(padded[:, rows, across], groups, axis=3)):
            columns[group, :, :, :, i, j] = part
    return columns


def images_of(columns: NDArray[Any], window: Window, height: int, width: int) -> NDArray[Any]:
    """Return the sums of columns (G, N, OH, OW, KH, KW, C / G) over the pixels of images."""
    groups, n, _, _, _, _, channels = columns.shape
    padded = np.zeros((n, *window.padded(height, width), groups * channels), columns.dtype)
    for i, j, rows, across in window.taps(height, width):
        cells = np.concatenate(list(columns[:, :, :, :, i, j]), axis=-1)
        padded[:, rows, across] += cells
    return unpad(padded, window.padding)
