"""Launch geometry: how many blocks of how many threads, computed on the host and checked there."""

from __future__ import annotations

import math
from typing import NamedTuple

THREADS = 256  # of a block, when there is enough to do
WARP = 32
MAX_BLOCKS = 1 << 16  # of a grid whose threads take several elements each
SWEEP_BLOCKS = 1 << 12  # of a grid whose threads take many rows: some waves on any GPU
PART_BLOCKS = 1 << 10  # of a grid that sums: they fill any GPU, and few parts are left to join
PART_DEPTH = 8  # rows that a thread sums at least, when there are as many
PART_SUMS = 1 << 20  # of a grid whose threads sum by themselves: they fill any GPU
LIMITS = (2**31 - 1, 65535, 65535)  # blocks along x, y and z


class Launch(NamedTuple):
    """The grid (in blocks) and the block (in threads) of a launch."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]

    def check(self, max_threads: int) -> None:
        """Raise ValueError for a geometry that no GPU runs, or blocks larger than the kernel's."""
        threads = math.prod(self.block)
        if not 1 <= threads <= max_threads:
            raise ValueError(f"{threads} threads in a block of at most {max_threads}")
        for axis, size, limit in zip("xyz", self.grid, LIMITS, strict=True):
            if not 0 <= size <= limit:
                raise ValueError(f"{size} blocks along {axis}, the limit is {limit}")


def linear(count: int, threads: int = THREADS) -> Launch:
    """For `count` independent elements; threads step through them in 64-bit arithmetic."""
    blocks = min(-(-count // threads), MAX_BLOCKS)
    return Launch((blocks, 1, 1), (threads, 1, 1))


def rows(count: int, width: int, height: int = THREADS) -> Launch:
    """One block for each of `count` rows; its threads lie on `width` × `height` elements.

    Threads along x take the elements beside each other, and as many as fit a block along y the next
    ones, so that a row of few elements still fills warps. Threads step on until a row is done.
    """
    x = max(1, min(width, THREADS))
    y = max(1, min(height, THREADS // x))
    return Launch((count, 1, 1), (x, y, 1))


def row_tiles(count: int, width: int, height: int) -> Launch:
    """For `count` rows of `height` pixels, `width` elements each: a thread keeps its element.

    Rows lie along x, equal shares of the elements along y; threads above each other share the
    pixels of a row.
    """
    x = -(-width // -(-width // THREADS))
    y = max(1, min(height, THREADS // x))
    return Launch((count, -(-width // x), 1), (x, y, 1))


def warps(count: int, per_block: int = THREADS // WARP) -> Launch:
    """One warp for each of `count` rows: threads (32, warps)."""
    return Launch((-(-count // per_block), 1, 1), (WARP, per_block, 1))


def tiles(count: int, width: int) -> Launch:
    """Blocks of 32 × 8 threads: along x one for each of `count`, along y for 32 columns each."""
    return Launch((count, -(-width // WARP), 1), (WARP, THREADS // WARP, 1))


def sweep(count: int, width: int) -> Launch:
    """For `count` rows of `width` elements, where a thread keeps its columns through many rows.

    Threads along x take equal shares of a row, threads along y and blocks one row each. They step
    on until all rows are done.
    """
    x = -(-width // -(-width // THREADS))
    y = max(1, min(THREADS // x, count))
    return Launch((min(-(-count // y), SWEEP_BLOCKS), 1, 1), (x, y, 1))


class Parts(NamedTuple):
    """Rows cut into `number` parts of `rows` rows each, the last one of what is left."""

    launch: Launch
    number: int
    rows: int


def row_parts(count: int, width: int) -> Parts:
    """For sums over `count` rows of `width` elements: a block for each part and each 32 columns.

    Parts depend on the shape alone. They lie along x, columns along y; threads above each other
    share the rows of a part, several for each.
    """
    columns = -(-width // WARP)
    x = -(-width // columns)
    y = THREADS // x
    rows = max(-(-count // max(1, PART_BLOCKS // columns)), y * PART_DEPTH)
    parts = -(-count // rows)
    return Parts(Launch((parts, columns, 1), (x, y, 1)), parts, rows)


def place_parts(count: int, width: int, pack: int) -> Parts:
    """For `width` sums over `count` rows by threads that take `pack` sums each, and whole parts.

    Parts depend on the shape alone: as many as give PART_SUMS sums in all. They lie along y,
    threads along x.
    """
    rows = -(-count // min(max(1, PART_SUMS // width), LIMITS[1]))
    parts = -(-count // max(1, rows))
    threads = -(-width // pack)
    x = -(-threads // -(-threads // THREADS))
    return Parts(Launch((-(-threads // x), parts, 1), (x, 1, 1)), parts, rows)


def joins(width: int) -> Launch:
    """For sums over few rows: blocks of 8 × 32 threads, for eight columns each."""
    x = THREADS // WARP
    return Launch((-(-width // x), 1, 1), (x, WARP, 1))
