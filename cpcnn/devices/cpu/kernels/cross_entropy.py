"""Softmax, cross-entropy and its gradient, a row at a time."""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel, part

LOG2_E = np.float32(1 / math.log(2))
LN_2 = np.float32(math.log(2))
LEAST = np.float32(-87)  # below it exp is next to the smallest normal number, and counts as 0
BIAS, ONE = np.float32(127), np.float32(1 << 23)  # where the exponent of a float32 begins
FACTORIALS = tuple(np.float32(1 / math.factorial(k)) for k in range(8))
F0, F1, F2, F3, F4, F5, F6, F7 = FACTORIALS


@part
def exp(x):
    """Return e**x for x <= 0: a power of two times Taylor's series on [-ln(2) / 2, ln(2) / 2].

    Simple enough to be computed for a vector of numbers at a time, which the library's is not.
    """
    seen = LEAST if x < LEAST else x  # NaN stays
    power = np.floor(seen * LOG2_E + np.float32(0.5))
    r = seen - power * LN_2
    series = F0 + r * (F1 + r * (F2 + r * (F3 + r * (F4 + r * (F5 + r * (F6 + r * F7))))))
    exponent = (power + BIAS) * ONE  # the bits of 2**power, once they are those of an integer
    bits = np.int32(exponent if exponent == exponent else BIAS)
    return np.float32(0) if x < LEAST else series * bits.view(np.float32)


@kernel
def cross_entropy(logits, labels, losses, gradient, start, stop, smoothing):
    """Write the losses of the rows from `start` to `stop`, and the gradient of their sum."""
    classes = logits.shape[1]
    share, spread = np.float32(1 - smoothing), np.float32(smoothing / classes)
    for row in range(start, stop):
        x, p, label = logits[row], gradient[row], labels[row]
        largest = x[0]
        for j in range(classes):
            largest = x[j] if x[j] > largest else largest
        total, distance = np.float32(0), np.float32(0)
        for j in range(classes):
            shifted = x[j] - largest
            power = exp(shifted)
            p[j] = power
            total += power
            distance += shifted
        log_total = np.float32(math.log(total))
        loss = spread * (np.float32(classes) * log_total - distance)
        factor = np.float32(1) / total
        for j in range(classes):
            p[j] = p[j] * factor - spread
        if 0 <= label < classes:
            loss += share * (log_total - (x[label] - largest))
            p[label] -= share
        losses[row] = loss


@kernel
def softmax(rows):
    """Turn every row into its softmax."""
    for row in range(len(rows)):
        x = rows[row]
        largest = x[0]
        for j in range(len(x)):
            largest = x[j] if x[j] > largest else largest
        total = np.float32(0)
        for j in range(len(x)):
            x[j] = exp(x[j] - largest)
            total += x[j]
        factor = np.float32(1) / total
        for j in range(len(x)):
            x[j] *= factor


@kernel
def weigh_rows(rows, weights, results, start, stop):
    """Multiply every row by its weight."""
    for row in range(start, stop):
        source, target, weight = rows[row], results[row], weights[row]
        for j in range(len(source)):
            target[j] = source[j] * weight
