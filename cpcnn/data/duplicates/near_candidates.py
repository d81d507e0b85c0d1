"""Which pictures of many are worth comparing: an index over signs, asked for near misses too.

The pictures are projected on the 64 directions in which they differ most (their principal
components), and the signs make a code of 64 bits. Copies share most of it, and where they differ,
the projection was close to 0 (locality-sensitive hashing; M. Charikar, "Similarity estimation
techniques from rounding algorithms", 2002). The first bits of the code are the address of a bucket.
A picture looks into its own bucket and into those that it would be in if some of its least certain
bits were turned (multi-probe: Lv, Josephson, Wang, Charikar and Li, "Multi-probe LSH", 2007). What
it finds there is sifted by those of all 64 bits that are certain in both.

Whatever the pictures are, one looks at WINDOW others in a bucket at most, and offers PARTNERS: of
thousands that are all alike, time and memory stay in proportion to their number.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .near_match import ALIKE, Floats, Pictures

FEW = 2048  # pictures, of which all pairs take less time than an index
PARTNERS = 32
WINDOW = 64

BITS = 64
LEAST_ADDRESS, LONGEST_ADDRESS = 12, 20  # bits; about as many buckets as pictures
UNCERTAIN = 7  # bits that may be turned, in all combinations
CERTAIN = 0.01  # a projection, of pictures of length 1, whose sign noise will not turn
DISTANCE = (
    10  # certain bits in which a copy may differ; cropped by 5 %, 998 of 1000 differ in fewer
)
SAMPLE = 16384  # pictures from which the components are computed
LOOKS_PER_PASS = 1 << 20
ROWS_PER_PASS = 4096

Pairs = NDArray[np.int64]  # (2, P)


def candidates(pictures: Pictures, rows: NDArray[np.int64]) -> Iterator[Pairs]:
    """Yield pairs (2, P) of `rows`, pictures with contrast, that may show the same image.

    The first of a pair is the smaller; a pair may be yielded twice.
    """
    if len(rows) <= FEW:
        yield from _all_pairs(pictures, rows)
        return
    signs = _signs(pictures, rows)
    index = _Index.of(signs.codes, _address_bits(len(rows)))
    for part in _near_codes(index, signs):
        yield np.sort(rows[part], axis=0)


def _all_pairs(pictures: Pictures, rows: NDArray[np.int64]) -> Iterator[Pairs]:
    """Compare all with all, and offer the most alike of each."""
    everything = pictures.at(rows)
    for start in range(0, len(rows), 512):
        alike = everything[start : start + 512] @ everything.T
        alike[:, start:][np.tril_indices(len(alike), m=len(rows) - start)] = -1  # and those before
        alike[:, :start] = -1
        if alike.shape[1] > PARTNERS:
            least = np.partition(alike, -PARTNERS, axis=1)[:, [-PARTNERS]]
        else:
            least = np.full((len(alike), 1), -1, np.float32)
        one, other = np.nonzero(alike >= np.maximum(least, ALIKE))
        yield np.stack([rows[start + one], rows[other]])


# ---- Codes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Signs:
    """Codes, uint64 (N,), and which of their bits are certain.

    `uncertain` has the least certain bits of their addresses, uint64 (N, UNCERTAIN).
    """

    codes: NDArray[np.uint64]
    certain: NDArray[np.uint64]
    uncertain: NDArray[np.uint64]


def _signs(pictures: Pictures, rows: NDArray[np.int64]) -> _Signs:
    mean, directions = _components(pictures, rows)
    address = _address_bits(len(rows))
    weights = np.uint64(1) << np.arange(BITS - 1, -1, -1, dtype=np.uint64)
    codes, certain = np.empty((2, len(rows)), np.uint64)
    uncertain = np.empty((len(rows), UNCERTAIN), np.uint64)
    for start in range(0, len(rows), ROWS_PER_PASS):
        part = slice(start, start + ROWS_PER_PASS)
        projected = (pictures.at(rows[part]) - mean) @ directions
        size = np.abs(projected)
        codes[part] = np.where(projected > 0, weights, np.uint64(0)).sum(1)
        certain[part] = np.where(size > CERTAIN, weights, np.uint64(0)).sum(1)
        doubtful = np.argsort(size[:, :address], axis=1, kind="stable")
        uncertain[part] = weights[doubtful[:, :UNCERTAIN]]
    return _Signs(codes, certain, uncertain)


def _components(pictures: Pictures, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Return the mean picture (256,) and the directions of largest variance (256, BITS)."""
    sample = pictures.at(rows[:: -(-len(rows) // SAMPLE)])
    mean = sample.mean(0)
    sample -= mean
    _, vectors = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    return mean, vectors[:, ::-1][:, :BITS].astype(np.float32)


def _address_bits(count: int) -> int:
    return min(max((count - 1).bit_length(), LEAST_ADDRESS), LONGEST_ADDRESS)


# ---- Buckets ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Index:
    """Codes in order, those of one address side by side.

    `order` (N,) has whose they are; the bucket of an address goes from its start to the next.
    """

    codes: NDArray[np.uint64]
    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    shift: np.uint64

    @classmethod
    def of(cls, codes: NDArray[np.uint64], address_bits: int) -> _Index:
        order = np.argsort(codes, kind="stable")
        shift = np.uint64(BITS - address_bits)
        sizes = np.bincount((codes >> shift).astype(np.int64), minlength=1 << address_bits)
        return cls(codes[order], order, np.concatenate([[0], np.cumsum(sizes)]), shift)

    def windows(self, codes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return where in the order to look for codes like these, begin and end.

        In a large bucket that is around the place where the code itself belongs.
        """
        address = (codes >> self.shift).astype(np.int64)
        begin, end = self.starts[address], self.starts[address + 1]
        large = np.flatnonzero(end - begin > WINDOW)
        middle = np.searchsorted(self.codes, codes[large])
        begin[large] = np.clip(middle - WINDOW // 2, begin[large], end[large] - WINDOW)
        end[large] = begin[large] + WINDOW
        return begin, end


def _near_codes(index: _Index, signs: _Signs) -> Iterator[Pairs]:
    """Yield pairs (2, P) of positions with like codes: those of a few pictures at a time."""
    turned = (np.arange(1 << UNCERTAIN)[:, np.newaxis] >> np.arange(UNCERTAIN) & 1).astype(bool)
    for start in range(0, len(signs.codes), ROWS_PER_PASS):
        codes = signs.codes[start : start + ROWS_PER_PASS]
        uncertain = signs.uncertain[start : start + ROWS_PER_PASS]
        looked_for = np.repeat(codes[:, np.newaxis], len(turned), axis=1)
        for bit in range(UNCERTAIN):
            looked_for ^= np.where(turned[:, bit], uncertain[:, [bit]], np.uint64(0))
        begin, end = index.windows(looked_for.ravel())
        asking = start + np.repeat(np.arange(len(codes)), len(turned))
        # All that one picture looks at must be in one part, as the best of them are chosen there.
        looks = (end - begin).reshape(looked_for.shape).sum(1)
        passes = np.cumsum(looks) // LOOKS_PER_PASS
        for cut in np.split(np.arange(len(asking)), _changes(passes) * len(turned)):
            yield _nearest(index, signs, asking[cut], begin[cut], end[cut])


def _changes(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.flatnonzero(np.diff(values)) + 1


def _nearest(
    index: _Index,
    signs: _Signs,
    asking: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
) -> Pairs:
    """Return who asks and, of all that lie in the windows asked for, the nearest by code, (2, P).

    Of equally near ones the first count. `asking` is in order.
    """
    sizes = end - begin
    one = np.repeat(asking, sizes)
    place = np.arange(len(one)) + np.repeat(begin - (np.cumsum(sizes) - sizes), sizes)
    other = index.order[place]
    both = signs.certain[one] & signs.certain[other]
    distance = np.bitwise_count((signs.codes[one] ^ index.codes[place]) & both)
    near = np.flatnonzero((distance <= DISTANCE) & (other != one))
    one, other, distance = one[near], other[near], distance[near]
    order = np.lexsort((other, distance, one))
    one, other = one[order], other[order]
    rank = np.arange(len(one)) - np.searchsorted(one, one)
    best = rank < PARTNERS
    return np.stack([one[best], other[best]])
