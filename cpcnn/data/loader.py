"""Batches in a reproducible order, prepared ahead of time by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import is_whole
from ..core.random import Philox
from .augment import Augmentation, Warp
from .dataset import Dataset


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (B, H, W, C), int64 labels (B,), int64 sample index (B,), and how to warp them.

    `preprocessing` has the "mean" and "std" per channel that bring these images to the network's
    input; None leaves that to the model's own.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    warp: Warp | None = None
    preprocessing: dict[str, Any] | None = None

    def __len__(self) -> int:
        return len(self.index)


class Loader:
    """Cuts a dataset into batches, epoch by epoch; the last batch may be short.

    Order, content and augmentation depend on (seed, epoch) alone, never on `workers`. These threads
    read at most `prefetch` batches ahead; with 0, or if the dataset is in memory, where reading is
    quicker than handing over, batches are made in the caller's thread.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        augmentation: Augmentation | None = None,
        workers: int = 2,
        prefetch: int = 4,
    ) -> None:
        for name, value, least in (
            ("batch_size", batch_size, 1),
            ("workers", workers, 0),
            ("prefetch", prefetch, 1),
        ):
            if not is_whole(value) or value < least:
                raise UsageError(
                    f"loader: {name} must be a whole number of at least {least}, not {value!r}."
                )
        self.dataset = dataset
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.augmentation = augmentation
        self.workers = workers
        self.prefetch = prefetch

    def __len__(self) -> int:
        """The number of batches in an epoch."""
        return -(-len(self.dataset) // self.batch_size)

    @property
    def num_samples(self) -> int:
        """The number of images in an epoch."""
        return len(self.dataset)

    @property
    def _is_quick(self) -> bool:
        """Whether making a batch takes less time than handing it from thread to thread."""
        return self.dataset.in_memory

    def epoch(self, epoch: int = 0, start: int = 0) -> Generator[Batch, None, None]:
        """Yield the batches of one epoch, from batch `start` on.

        Closing the iterator early leaves no thread behind.
        """
        make, steps = self._maker(epoch), range(start, len(self))
        if self.workers == 0 or self._is_quick:
            return (make(step) for step in steps)
        return _ahead(make, steps, self.workers, self.prefetch)

    def _maker(self, epoch: int) -> Callable[[int], Batch]:
        """Return the function that makes the k-th batch of an epoch."""
        order = self._order(epoch)
        warps = self._warps(epoch, order)

        def make(step: int) -> Batch:
            rows = slice(step * self.batch_size, (step + 1) * self.batch_size)
            index = order[rows]
            images = self.dataset.gather(index)
            warp = None if warps is None else warps.rows(rows)
            return Batch(images, self.dataset.labels[index], index, warp)

        return make

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self.shuffle:
            return Philox(self.seed, "shuffle", epoch).permutation(len(self.dataset))
        return np.arange(len(self.dataset))

    def _warps(self, epoch: int, order: NDArray[np.int64]) -> Warp | None:
        """Draw the whole epoch at once: the numbers depend on the sample, not on its batch."""
        if not self.augmentation:
            return None
        height, width, _ = self.dataset.image_shape
        return self.augmentation.draw(self.seed, epoch, order, height, width)


def _ahead(
    make: Callable[[int], Batch], steps: range, workers: int, prefetch: int
) -> Generator[Batch, None, None]:
    """Yield make(step) of each step, made by threads, at most `prefetch` ahead of the consumer."""
    from concurrent.futures import Future, ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(workers, prefetch), thread_name_prefix="cpcnn-loader")
    pending: deque[Future[Batch]] = deque()
    try:
        for step in steps:
            pending.append(pool.submit(make, step))
            if len(pending) > prefetch:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
