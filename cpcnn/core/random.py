"""Counter-based random numbers: Philox4x32-10 over arrays of counters.

Every draw is a pure function of (seed, stream, epoch, index), so results depend neither on the
order of work nor on the number of threads, and every device draws the same integers.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .typing import Array, Namespace

MULTIPLIER_0, MULTIPLIER_1 = 0xD2511F53, 0xCD9E8D57
WEYL_0, WEYL_1 = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
MASK = 0xFFFFFFFF


def philox4x32(xp: Namespace, counter: list[Array], key: tuple[int, int]) -> list[Array]:
    """Encrypt counters with Philox4x32-10.

    `counter` is four uint64 arrays of one shape holding 32-bit words; returns the same form.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    low = xp.asarray(MASK, dtype=xp.uint64)
    half = xp.asarray(32, dtype=xp.uint64)
    multiplier_0 = xp.asarray(MULTIPLIER_0, dtype=xp.uint64)
    multiplier_1 = xp.asarray(MULTIPLIER_1, dtype=xp.uint64)
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * multiplier_0, c2 * multiplier_1
        c0 = (product_1 >> half) ^ c1 ^ xp.asarray(k0, dtype=xp.uint64)
        c2 = (product_0 >> half) ^ c3 ^ xp.asarray(k1, dtype=xp.uint64)
        c1, c3 = product_1 & low, product_0 & low
        k0, k1 = (k0 + WEYL_0) & MASK, (k1 + WEYL_1) & MASK
    return [c0, c1, c2, c3]


@dataclass(frozen=True)
class Philox:
    """A family of random words, addressed by index.

    The key is `seed` (64 bits); the counter is (index low, index high, epoch, hash of `stream`).
    """

    seed: int
    stream: str
    epoch: int = 0

    @property
    def key(self) -> tuple[int, int]:
        return self.seed & MASK, (self.seed >> 32) & MASK

    @property
    def stream_word(self) -> int:
        return zlib.crc32(self.stream.encode())

    def child(self, name: str) -> Philox:
        """Return the independent family `stream/name` of the same seed and epoch."""
        return Philox(self.seed, f"{self.stream}/{name}", self.epoch)

    def words_on(self, xp: Namespace, index: Array) -> list[Array]:
        """Draw four words per index on any namespace: four uint64 arrays of index's shape."""
        low = xp.asarray(MASK, dtype=xp.uint64)
        half = xp.asarray(32, dtype=xp.uint64)
        zero = xp.zeros_like(index)
        epoch = zero + xp.asarray(self.epoch & MASK, dtype=xp.uint64)
        stream = zero + xp.asarray(self.stream_word, dtype=xp.uint64)
        return philox4x32(xp, [index & low, index >> half, epoch, stream], self.key)

    def words(self, index: NDArray[np.integer]) -> NDArray[np.uint32]:
        """Draw uint32 words of shape index.shape + (4,)."""
        index = np.asarray(index).astype(np.uint64)
        words: list[Any] = self.words_on(np, index)
        return np.stack(words, axis=-1).astype(np.uint32)

    def uniform(self, index: NDArray[np.integer], draws: int = 1) -> NDArray[np.float32]:
        """Draw float32 numbers in [0, 1) of shape index.shape + (draws,), at most 4 draws."""
        if not 1 <= draws <= 4:
            raise ValueError(f"a Philox counter holds 1 to 4 draws, not {draws}")
        return unit_interval(self.words(index)[..., :draws])

    def normal(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Draw standard normal float32 numbers (Box-Muller on 32-bit words)."""
        size = math.prod(shape)
        words = self.words(np.arange((size + 3) // 4)).astype(np.float64)
        radius = np.sqrt(-2.0 * np.log((words[:, 0::2] + 1.0) / 2.0**32))
        angle = words[:, 1::2] * (2.0 * np.pi / 2.0**32)
        pairs = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return pairs.reshape(-1)[:size].reshape(shape).astype(np.float32)

    def permutation(self, length: int) -> NDArray[np.int64]:
        """Draw a permutation of range(length): a stable sort by 64-bit random keys."""
        words = self.words(np.arange(length)).astype(np.uint64)
        return np.argsort((words[:, 0] << np.uint64(32)) | words[:, 1], kind="stable")


def unit_interval(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """Map 32-bit words to float32 in [0, 1) by their upper 24 bits, exactly."""
    return (words >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)
