"""MixUp and CutMix: how much of another image each one takes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...core.random import Philox
from .boxes import cut_boxes
from .changes import Mix

Numbers = NDArray[np.float64]


def draw_mix(
    random: Philox, index: NDArray[np.int64], mixup: float, cutmix: float, height: int, width: int
) -> Mix:
    """Draw how the images `index` (B,) are mixed; `mixup` and `cutmix` are alphas, 0 leaves it out.

    The share that is kept follows Beta(alpha, alpha). MixUp mixes whole images (Zhang et al.,
    "mixup: Beyond empirical risk minimization", 2017, arXiv:1710.09412), CutMix fills a box with
    the other image. With both, half of the images get one, half the other.
    """
    kind, *place = random.uniform(index, 3).astype(np.float64).T
    cuts = kind < (0.5 if mixup > 0 else 1.0) * (cutmix > 0)
    kept = np.empty(len(index))
    for chosen, alpha in ((~cuts, mixup), (cuts, cutmix)):
        kept[chosen] = symmetric_beta(random, index[chosen], alpha)
    box, left_over = cut_boxes(np.array(place), kept, height, width)
    box[~cuts] = (0, 0, height, width)
    return Mix(
        share=np.where(cuts, 0.0, kept).astype(np.float32),
        box=box,
        weight=np.where(cuts, left_over, kept).astype(np.float32),
    )


def symmetric_beta(random: Philox, index: NDArray[np.int64], alpha: float) -> Numbers:
    """Draw numbers (B,) of Beta(alpha, alpha), alpha > 0: one gamma's share of two."""
    first = _log_gamma(random.child("first"), index, alpha)
    second = _log_gamma(random.child("second"), index, alpha)
    # of logarithms, as small alphas give gammas that no float can hold
    return 1.0 / (1.0 + np.exp(np.clip(second - first, -700.0, 700.0)))


def _log_gamma(random: Philox, index: NDArray[np.int64], alpha: float) -> Numbers:
    """Draw logarithms (B,) of Gamma(alpha) by rejection; each round has its own numbers.

    Marsaglia and Tsang, "A simple method for generating gamma variables", 2000; 19 of 20 tries are
    accepted. Below 1, Gamma(alpha) is Gamma(alpha + 1) times a uniform number to the 1 / alpha.
    """
    shape = alpha if alpha >= 1.0 else alpha + 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / np.sqrt(9.0 * d)
    result = np.empty(len(index))
    left, number = np.arange(len(index)), 0
    while len(left):
        u = _open(random.child(str(number)), index[left])
        normal = np.sqrt(-2.0 * np.log(u[0])) * np.cos(2.0 * np.pi * u[1])
        v = (1.0 + c * normal) ** 3
        log_v = np.log(np.where(v > 0.0, v, 1.0))
        good = (v > 0.0) & (np.log(u[2]) < normal**2 / 2.0 + d - d * v + d * log_v)
        drawn = np.log(d) + log_v
        if alpha < 1.0:
            drawn += np.log(u[3]) / alpha
        result[left[good]] = drawn[good]
        left, number = left[~good], number + 1
    return result


def _open(random: Philox, index: NDArray[np.int64]) -> Numbers:
    """Draw numbers (4, B) in (0, 1): all 32 bits, and never an end."""
    return (random.words(index).astype(np.float64).T + 0.5) / 2.0**32
