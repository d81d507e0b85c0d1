"""3×3 convolution without stride by Winograd's F(4×4, 3×3) (Lavin, Gray, 2015, arXiv:1509.09308).

Images are cut into 4×4 tiles of the result, which 6×6 tiles of the input reach. Transformed, a
tile is 36 numbers per channel, and convolution is 36 independent matrix products over channels:
a quarter of the multiplications. Gradients are the transposes of the same steps.

Arrays are flat, float32:
    weights     (panels of filters, 36, channels * COLUMNS + PAD)    a panel is COLUMNS filters
    tiles       (36, room * width + PAD)    transformed tiles; width = channels, rounded up to LANES
    cells       (36, tiles * COLUMNS + PAD)    products of tiles and a panel
`geometry` is (H, W, OH, OW, top, left): image, result, and padding before the first row and column.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel, part
from .loops import fetch
from .product import COLUMNS, ROWS, multiply
from .vector import LANES, fill, load, load_first, relu, store, store_first, transpose

TILE = 4  # of the result, either way
CELLS = 36  # numbers that a tile becomes
FETCHED = 128  # channels at most, of images that are fetched ahead
PAD = LANES  # between the cells: a power of two apart, all would fall into the same sets of a cache


# ---- The six transforms of a line; a tile's are those of its columns, then of its rows -----------


@part
def _input_line(d0, d1, d2, d3, d4, d5):
    even, odd = d4 - 4.0 * d2, d3 - 4.0 * d1
    half, whole = d4 - d2, 2.0 * (d3 - d1)
    first, last = d4 + 4.0 * d0 - 5.0 * d2, d5 + 4.0 * d1 - 5.0 * d3
    return first, even + odd, even - odd, half + whole, half - whole, last


@part
def _input_line_transposed(v0, v1, v2, v3, v4, v5):
    near, far = v1 + v2, v3 + v4
    near_odd, far_odd = v1 - v2, v3 - v4
    return (
        4.0 * v0,
        4.0 * v5 - 4.0 * near_odd - 2.0 * far_odd,
        -5.0 * v0 - 4.0 * near - far,
        near_odd + 2.0 * far_odd - 5.0 * v5,
        v0 + near + far,
        v5,
    )


@part
def _output_line(m0, m1, m2, m3, m4, m5):
    near, far = m1 + m2, m3 + m4
    near_odd, far_odd = m1 - m2, m3 - m4
    last = near_odd + 8.0 * far_odd + m5
    return m0 + near + far, near_odd + 2.0 * far_odd, near + 4.0 * far, last


@part
def _output_line_transposed(y0, y1, y2, y3):
    even, odd = y0 + y2, y1 + y3
    far_even, far_odd = y0 + 4.0 * y2, 2.0 * y1 + 8.0 * y3
    return y0, even + odd, even - odd, far_even + far_odd, far_even - far_odd, y3


@part
def _weight_line(w0, w1, w2):
    sixth = 1.0 / 6.0
    ends, middle = (0.0 - sixth) * (w0 + w2), sixth * w1
    far, far_middle = (sixth / 4.0) * w0 + sixth * w2, (sixth / 2.0) * w1
    return 0.25 * w0, ends - middle, ends + middle, far + far_middle, far - far_middle, w2


@part
def _weight_line_transposed(g0, g1, g2, g3, g4, g5):
    sixth = 1.0 / 6.0
    near, far = sixth * (g1 + g2), sixth * (g3 + g4)
    return (
        0.25 * g0 - near + 0.25 * far,
        sixth * (g2 - g1) + (sixth / 2.0) * (g3 - g4),
        far - near + g5,
    )


# ---- Lines in memory -----------------------------------------------------------------------------


@part
def _load_line(source, at, step):
    return (
        load(source, at),
        load(source, at + step),
        load(source, at + 2 * step),
        load(source, at + 3 * step),
        load(source, at + 4 * step),
        load(source, at + 5 * step),
    )


@part
def _store_line(target, at, step, line):
    store(target, at, line[0])
    store(target, at + step, line[1])
    store(target, at + 2 * step, line[2])
    store(target, at + 3 * step, line[3])
    store(target, at + 4 * step, line[4])
    store(target, at + 5 * step, line[5])


@part
def _load_inside(source, at, inside, count):
    if inside:
        return load_first(source, at, count)
    return fill(np.float32(0))


# ---- Weights -------------------------------------------------------------------------------------


@part
def _transform_kernels(source, at, step, count, scratch, target, to, cell_step):
    """The 3×3 kernels of `count` filters: 9 vectors, `step` apart, to 36, `cell_step` apart."""
    for j in range(3):
        w0 = load_first(source, at + j * step, count)
        w1 = load_first(source, at + (3 + j) * step, count)
        w2 = load_first(source, at + (6 + j) * step, count)
        _store_line(scratch, j * LANES, 3 * LANES, _weight_line(w0, w1, w2))
    for i in range(6):
        w0 = load(scratch, 3 * i * LANES)
        w1 = load(scratch, (3 * i + 1) * LANES)
        w2 = load(scratch, (3 * i + 2) * LANES)
        _store_line(target, to + 6 * i * cell_step, cell_step, _weight_line(w0, w1, w2))


@kernel
def transform_weights(w, channels, filters, weights, first_panel, scratch, begin, end):
    """w (3, 3, channels, filters) -> weights, for the pairs (panel, channel) from begin to end.

    Panel `first_panel` goes to the start of `weights`.
    """
    for item in range(begin, end):
        panel, channel = item // channels, item % channels
        first = panel * COLUMNS
        for j in range(0, min(COLUMNS, filters - first), LANES):
            at = channel * filters + first + j
            step = channels * COLUMNS + PAD
            to = (panel - first_panel) * CELLS * step + channel * COLUMNS + j
            count = min(LANES, filters - first - j)
            _transform_kernels(w, at, channels * filters, count, scratch, weights, to, step)


@kernel
def transform_weights_turned(w, channels, filters, weights, first_panel, scratch, begin, end):
    """The same with channels and filters exchanged: (panels of channels, 36, filters, COLUMNS).

    Items are (panel, LANES filters). After the first 36 vectors scratch holds 9 × LANES × COLUMNS
    turned numbers.
    """
    turned = scratch[CELLS * LANES :]
    groups = (filters + LANES - 1) // LANES
    for item in range(begin, end):
        panel, filter_first = item // groups, item % groups * LANES
        first = panel * COLUMNS
        width, height = min(COLUMNS, channels - first), min(LANES, filters - filter_first)
        for cell in range(9):
            for c in range(0, width, LANES):
                row = (cell * channels + first + c) * filters + filter_first
                to = cell * LANES * COLUMNS + c
                transpose(w, row, filters, min(LANES, width - c), height, turned, to, COLUMNS)
        for f in range(height):
            for j in range(0, width, LANES):
                step = filters * COLUMNS + PAD
                at = f * COLUMNS + j
                to = (panel - first_panel) * CELLS * step + (filter_first + f) * COLUMNS + j
                count = min(LANES, width - j)
                _transform_kernels(turned, at, LANES * COLUMNS, count, scratch, weights, to, step)


@part
def _weight_gradient(cells, at, step, scratch, dw, to, dw_step, count, add):
    """36 vectors of gradients, `step` apart, back to the 9 of 3×3 kernels."""
    for j in range(6):
        line = _weight_line_transposed(*_load_line(cells, at + j * step, 6 * step))
        store(scratch, j * LANES, line[0])
        store(scratch, (6 + j) * LANES, line[1])
        store(scratch, (12 + j) * LANES, line[2])
    for i in range(3):
        line = _weight_line_transposed(*_load_line(scratch, 6 * i * LANES, LANES))
        row = to + 3 * i * dw_step
        _write(dw, row, line[0], count, add)
        _write(dw, row + dw_step, line[1], count, add)
        _write(dw, row + 2 * dw_step, line[2], count, add)


@part
def _write(target, at, value, count, add):
    if add:
        value = value + load_first(target, at, count)
    store_first(target, at, value, count)


# ---- Images to tiles and back --------------------------------------------------------------------


@part
def _input_tile(x, image, size, channels, top, left, tiles, at, step, scratch):
    """The 6×6 pixels from row `top`, column `left` of an image, transformed; outside is zero."""
    height, width = size
    row_step = width * channels
    for c in range(0, channels, LANES):
        count = min(LANES, channels - c)
        for j in range(6):
            inside = 0 <= left + j < width
            pixel = ((image * height + top) * width + left + j) * channels + c
            line = _input_line(
                _load_inside(x, pixel, inside and 0 <= top < height, count),
                _load_inside(x, pixel + row_step, inside and 0 <= top + 1 < height, count),
                _load_inside(x, pixel + 2 * row_step, inside and 0 <= top + 2 < height, count),
                _load_inside(x, pixel + 3 * row_step, inside and 0 <= top + 3 < height, count),
                _load_inside(x, pixel + 4 * row_step, inside and 0 <= top + 4 < height, count),
                _load_inside(x, pixel + 5 * row_step, inside and 0 <= top + 5 < height, count),
            )
            _store_line(scratch, j * LANES, 6 * LANES, line)
        for i in range(6):
            line = _input_line(*_load_line(scratch, 6 * i * LANES, LANES))
            _store_line(tiles, at + 6 * i * step + c, step, line)


@part
def _gradient_tile(dy, image, size, filters, top, left, tiles, at, step, scratch):
    """The 4×4 gradients from row `top`, column `left`: the transpose of `_output_tile`."""
    height, width = size
    row_step = width * filters
    for c in range(0, filters, LANES):
        count = min(LANES, filters - c)
        for j in range(4):
            inside = left + j < width
            pixel = ((image * height + top) * width + left + j) * filters + c
            line = _output_line_transposed(
                _load_inside(dy, pixel, inside, count),
                _load_inside(dy, pixel + row_step, inside and top + 1 < height, count),
                _load_inside(dy, pixel + 2 * row_step, inside and top + 2 < height, count),
                _load_inside(dy, pixel + 3 * row_step, inside and top + 3 < height, count),
            )
            _store_line(scratch, j * LANES, 4 * LANES, line)
        for i in range(6):
            base = 4 * i * LANES
            line = _output_line_transposed(
                load(scratch, base),
                load(scratch, base + LANES),
                load(scratch, base + 2 * LANES),
                load(scratch, base + 3 * LANES),
            )
            _store_line(tiles, at + 6 * i * step + c, step, line)


@part
def _output_tile(
    cells, at, step, columns, bias, has_bias, rectify, y, image, size, filters, first, top, left,
    scratch,
):  # fmt: skip
    """36 vectors per LANES filters to the 4×4 pixels from row `top`, column `left`."""
    height, width = size
    for c in range(0, columns, LANES):
        count = min(LANES, columns - c)
        for j in range(6):
            line = _output_line(*_load_line(cells, at + j * step + c, 6 * step))
            store(scratch, j * LANES, line[0])
            store(scratch, (6 + j) * LANES, line[1])
            store(scratch, (12 + j) * LANES, line[2])
            store(scratch, (18 + j) * LANES, line[3])
        shift = _load_inside(bias, first + c, has_bias, count)
        for i in range(min(4, height - top)):
            line = _output_line(*_load_line(scratch, 6 * i * LANES, LANES))
            pixel = ((image * height + top + i) * width + left) * filters + first + c
            for_columns = width - left
            _finish(y, pixel, line[0] + shift, rectify, count)
            if for_columns > 1:
                _finish(y, pixel + filters, line[1] + shift, rectify, count)
            if for_columns > 2:
                _finish(y, pixel + 2 * filters, line[2] + shift, rectify, count)
            if for_columns > 3:
                _finish(y, pixel + 3 * filters, line[3] + shift, rectify, count)


@part
def _finish(y, at, value, rectify, count):
    if rectify:
        value = relu(value)
    store_first(y, at, value, count)


@part
def _input_gradient_tile(
    cells, at, step, columns, dx, image, size, channels, first, top, left, scratch,
):  # fmt: skip
    """36 vectors per LANES channels, added to the 6×6 pixels: the transpose of `_input_tile`."""
    height, width = size
    for c in range(0, columns, LANES):
        count = min(LANES, columns - c)
        for j in range(6):
            line = _input_line_transposed(*_load_line(cells, at + j * step + c, 6 * step))
            _store_line(scratch, j * LANES, 6 * LANES, line)
        for i in range(6):
            if not 0 <= top + i < height:
                continue
            line = _input_line_transposed(*_load_line(scratch, 6 * i * LANES, LANES))
            pixel = ((image * height + top + i) * width + left) * channels + first + c
            _add_inside(dx, pixel, line[0], 0 <= left < width, count)
            _add_inside(dx, pixel + channels, line[1], 0 <= left + 1 < width, count)
            _add_inside(dx, pixel + 2 * channels, line[2], 0 <= left + 2 < width, count)
            _add_inside(dx, pixel + 3 * channels, line[3], 0 <= left + 3 < width, count)
            _add_inside(dx, pixel + 4 * channels, line[4], 0 <= left + 4 < width, count)
            _add_inside(dx, pixel + 5 * channels, line[5], 0 <= left + 5 < width, count)


@part
def _add_inside(dx, at, value, inside, count):
    if inside:
        store_first(dx, at, value + load_first(dx, at, count), count)


# ---- What Python calls -----------------------------------------------------------------------


@part
def _place(tile, across, down):
    """Image, first row and first column of the result of a tile."""
    rest = tile % (across * down)
    return tile // (across * down), rest // across * TILE, rest % across * TILE


@part
def _fetch_share(array, image, size, channels, row, tile, across):
    """Fetch a tile's share of the TILE rows from `row` on, with which the next tiles begin.

    For many channels the processor does so by itself.
    """
    if row < size[0] and channels <= FETCHED:
        share = TILE * size[1] * channels // across
        fetch(array, (image * size[0] + row) * size[1] * channels + tile % across * share, share)


@kernel
def input_tiles(x, geometry, channels, tiles, room, first, begin, end, scratch):
    """Transform the tiles from begin to end of x; tile `first` goes to the start of `tiles`."""
    height, width, out_height, out_width, pad_top, pad_left = geometry
    across, down = (out_width + 3) // TILE, (out_height + 3) // TILE
    row = (channels + LANES - 1) // LANES * LANES
    for tile in range(begin, end):
        image, top, left = _place(tile, across, down)
        at = (tile - first) * row
        _fetch_share(x, image, (height, width), channels, top - pad_top + 6, tile, across)
        _input_tile(
            x, image, (height, width), channels, top - pad_top, left - pad_left,
            tiles, at, room * row + PAD, scratch,
        )  # fmt: skip


@kernel
def gradient_tiles(dy, geometry, filters, tiles, room, first, begin, end, scratch):
    """Transform the tiles from begin to end of dy, like `input_tiles`."""
    _, _, out_height, out_width, _, _ = geometry
    across, down = (out_width + 3) // TILE, (out_height + 3) // TILE
    row = (filters + LANES - 1) // LANES * LANES
    for tile in range(begin, end):
        image, top, left = _place(tile, across, down)
        at = (tile - first) * row
        _fetch_share(dy, image, (out_height, out_width), filters, top + TILE, tile, across)
        _gradient_tile(
            dy, image, (out_height, out_width), filters, top, left, tiles, at, room * row + PAD,
            scratch,
        )  # fmt: skip


@part
def _multiply_panel(tiles, room, begin, count, depth, weights, panel, columns, cells, rows):
    """The 36 products of `count` tiles and a panel: cells (36, at least `count`, COLUMNS)."""
    width = (depth + LANES - 1) // LANES * LANES
    block = (count + ROWS - 1) // ROWS * ROWS
    source, target = rows[:block], rows[block:]
    for i in range(block):
        source[i] = (begin + min(i, count - 1)) * width
        target[i] = i * COLUMNS
    for cell in range(CELLS):
        b = (panel * CELLS + cell) * (depth * COLUMNS + PAD)
        for i in range(0, count, ROWS):
            multiply(
                columns, tiles, source, cell * (room * width + PAD), 1, weights, b, 0, COLUMNS,
                cells, target, cell * (block * COLUMNS + PAD), i, depth,
            )  # fmt: skip


@kernel
def multiply_forward(
    tiles, room, first, begin, end, weights, first_panel, channels, filters, panel_begin, panel_end,
    bias, has_bias, rectify, y, geometry, cells, rows, scratch,
):  # fmt: skip
    """Tiles from begin to end times panels of weights, plus bias, rectified: pixels of y."""
    _, _, out_height, out_width, _, _ = geometry
    across, down = (out_width + 3) // TILE, (out_height + 3) // TILE
    block = (end - begin + ROWS - 1) // ROWS * ROWS
    for panel in range(panel_begin, panel_end):
        column = panel * COLUMNS
        columns = min(COLUMNS, filters - column)
        _multiply_panel(
            tiles, room, begin - first, end - begin, channels,
            weights, panel - first_panel, columns, cells, rows,
        )  # fmt: skip
        for tile in range(begin, end):
            image, top, left = _place(tile, across, down)
            if panel == panel_begin:
                _fetch_share(y, image, (out_height, out_width), filters, top + TILE, tile, across)
            _output_tile(
                cells, (tile - begin) * COLUMNS, block * COLUMNS + PAD, columns,
                bias, has_bias, rectify,
                y, image, (out_height, out_width), filters, column, top, left, scratch,
            )  # fmt: skip


@kernel
def multiply_backward(
    tiles, room, first, begin, end, weights, first_panel, channels, filters, panel_begin, panel_end,
    dx, geometry, cells, rows, scratch,
):  # fmt: skip
    """Gradient tiles from begin to end times turned weights, added to the pixels of dx."""
    height, width, out_height, out_width, pad_top, pad_left = geometry
    across, down = (out_width + 3) // TILE, (out_height + 3) // TILE
    block = (end - begin + ROWS - 1) // ROWS * ROWS
    for panel in range(panel_begin, panel_end):
        column = panel * COLUMNS
        columns = min(COLUMNS, channels - column)
        _multiply_panel(
            tiles, room, begin - first, end - begin, filters,
            weights, panel - first_panel, columns, cells, rows,
        )  # fmt: skip
        for tile in range(begin, end):
            image, top, left = _place(tile, across, down)
            if panel == panel_begin:
                _fetch_share(dx, image, (height, width), channels, top - pad_top + 6, tile, across)
            _input_gradient_tile(
                cells, (tile - begin) * COLUMNS, block * COLUMNS + PAD, columns,
                dx, image, (height, width), channels, column, top - pad_top, left - pad_left,
                scratch,
            )  # fmt: skip


@kernel
def multiply_weight_gradient(
    input_tiles, gradient_tiles, room, count, channels, filters, block, begin, end, dw, add, cells,
    rows, scratch,
):  # fmt: skip
    """Input tiles times gradient tiles, summed over `count` tiles: pixels of dw (or added to it).

    Items are (block of `block` channels, panel of filters).
    """
    a_width = (channels + LANES - 1) // LANES * LANES
    b_width = (filters + LANES - 1) // LANES * LANES
    panels = (filters + COLUMNS - 1) // COLUMNS
    source, target = rows[:block], rows[block : 2 * block]
    for i in range(block):
        target[i] = i * COLUMNS
    for item in range(begin, end):
        channel, column = item // panels * block, item % panels * COLUMNS
        height, columns = min(block, channels - channel), min(COLUMNS, filters - column)
        for i in range(block):
            source[i] = channel + min(i, height - 1)
        for cell in range(CELLS):
            b = cell * (room * b_width + PAD) + column
            for i in range(0, height, ROWS):
                multiply(
                    columns, input_tiles, source, cell * (room * a_width + PAD), a_width,
                    gradient_tiles, b, 0, b_width, cells, target, cell * (block * COLUMNS + PAD),
                    i, count,
                )  # fmt: skip
        for i in range(height):
            for j in range(0, columns, LANES):
                to = (channel + i) * filters + column + j
                _weight_gradient(
                    cells, i * COLUMNS + j, block * COLUMNS + PAD, scratch,
                    dw, to, channels * filters, min(LANES, columns - j), add,
                )  # fmt: skip
