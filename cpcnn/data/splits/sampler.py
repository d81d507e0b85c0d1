"""Drawing classes equally often, however many images each of them has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...core.errors import DataError
from ...core.random import Philox


@dataclass(frozen=True, eq=False)
class Order:
    """The images of an epoch in their order, int64 (N,), and a number for each draw of one.

    The numbers, int64 (N,), are what random changes of an image are drawn by: an image that comes
    a second time has another one, and so is changed in another way.
    """

    index: NDArray[np.int64]
    draws: NDArray[np.int64]


class BalancedSampler:
    """An epoch of as many draws as there are images, in which all classes come equally often.

    The numbers of draws of two classes differ by one at most, and over all epochs so far as well.
    A class is dealt like a pack of cards, which is shuffled anew when it is used up, over the end
    of epochs: so its images come equally often, too, and none is left out for long. What is drawn
    is a function of labels, seed and epoch; nothing has to be remembered between epochs.

    `labels` (N,) are class numbers; classes without images do not count.
    """

    def __init__(self, labels: ArrayLike) -> None:
        self._labels = np.asarray(labels, np.int64)
        if not len(self._labels):
            raise DataError("there are no images to draw from.")
        self._classes = np.unique(self._labels)

    def order(self, seed: int, epoch: int) -> Order:
        """Return the order of one epoch, counted from 0."""
        drawn = [
            self._draw(place, int(label), seed, epoch) for place, label in enumerate(self._classes)
        ]
        index = np.concatenate([images for images, _ in drawn])
        again = np.concatenate([times for _, times in drawn])
        shuffled = Philox(seed, "shuffle", epoch).permutation(len(index))
        index = index[shuffled]
        return Order(index, index + len(index) * again[shuffled])

    def _draw(
        self, place: int, label: int, seed: int, epoch: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the images of one class in an epoch, and how often each came before in it.

        Of M draws in all so far, class k of K has had floor((M + k) / K). These numbers differ by
        one at most, and their sum over all k is M (Hermite's identity).
        """
        members = np.flatnonzero(self._labels == label)
        total, classes = len(self._labels), len(self._classes)
        first = (epoch * total + place) // classes
        last = ((epoch + 1) * total + place) // classes
        packs = range(first // len(members), -(-last // len(members)))
        if first == last:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        dealt = np.concatenate(
            [
                members[Philox(seed, f"balanced/{label}", pack).permutation(len(members))]
                for pack in packs
            ]
        )
        start = packs.start * len(members)
        dealt = dealt[first - start : last - start]
        return dealt, _times_before(dealt)


def _times_before(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each value (N,) how many equal ones stand before it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(values)])
    times = np.empty(len(values), np.int64)
    times[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return times
