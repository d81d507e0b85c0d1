"""Dropout by the words of Philox4x32-10, four elements at a time."""

from __future__ import annotations

import numpy as np

from ....core.random import MASK, MULTIPLIER_0, MULTIPLIER_1, ROUNDS, WEYL_0, WEYL_1
from .jit import kernel

LOW, HALF = np.uint64(MASK), np.uint64(32)
FACTOR_0, FACTOR_1 = np.uint64(MULTIPLIER_0), np.uint64(MULTIPLIER_1)
STEP_0, STEP_1 = np.uint64(WEYL_0), np.uint64(WEYL_1)
WORDS = 4
AT_ONCE = 256  # indices: their words stay in the first cache


@kernel
def dropout(x, y, start, stop, threshold, scale, epoch, stream, key_0, key_1):
    """Drop, or scale and keep, the elements of the indices from `start` to `stop`, 4 each.

    `threshold` is a word: what is below it is dropped. Words are drawn as in `cpcnn.core.random`,
    here and not in a function of their own, with which the compiler would use no vectors.
    """
    threshold, scale, zero = np.uint32(threshold), np.float32(scale), np.float32(0)
    epoch, stream = np.uint64(epoch) & LOW, np.uint64(stream) & LOW
    first_0, first_1 = np.uint64(key_0) & LOW, np.uint64(key_1) & LOW
    drawn = np.empty((AT_ONCE, WORDS), np.uint32)
    flat = drawn.reshape(AT_ONCE * WORDS)
    for first in range(start, stop, AT_ONCE):
        for i in range(min(AT_ONCE, stop - first)):
            index = np.uint64(first + i)
            c0, c1, c2, c3 = index & LOW, index >> HALF, epoch, stream
            key_0, key_1 = first_0, first_1
            for _ in range(ROUNDS):
                product_0, product_1 = c0 * FACTOR_0, c2 * FACTOR_1
                c0 = (product_1 >> HALF) ^ c1 ^ key_0
                c2 = (product_0 >> HALF) ^ c3 ^ key_1
                c1, c3 = product_1 & LOW, product_0 & LOW
                key_0, key_1 = (key_0 + STEP_0) & LOW, (key_1 + STEP_1) & LOW
            drawn[i, 0], drawn[i, 1], drawn[i, 2], drawn[i, 3] = c0, c1, c2, c3
        x_part, y_part = x[WORDS * first :], y[WORDS * first :]
        for k in range(min(WORDS * AT_ONCE, WORDS * (stop - first), len(x_part))):
            y_part[k] = x_part[k] * scale if flat[k] >= threshold else zero
