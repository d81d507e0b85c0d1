"""Batches in a reproducible order, prepared ahead of time by threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import is_whole
from ..core.random import Philox
from .augmentation.augment import Augmentation
from .augmentation.changes import Changes, Warp
from .dataset import Dataset
from .splits.sampler import BalancedSampler, Order

DRAWN_AT_ONCE = 4096  # samples: enough that the start of a draw does not matter


@dataclass(frozen=True, eq=False)
class Batch:
    """Images (B, H, W, C), int64 labels (B,), int64 sample index (B,), and what changes them.

    `preprocessing` has the "mean" and "std" per channel that bring these images to the network's
    input; None leaves that to the model's own.
    """

    images: NDArray[Any]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    warp: Warp | None = None
    preprocessing: dict[str, Any] | None = None
    changes: Changes | None = None

    def __len__(self) -> int:
        return len(self.index)


class Loader:
    """Cuts a dataset into batches, epoch by epoch; the last batch may be short.

    Order, content and augmentation depend on (seed, epoch) alone, never on `workers`. These threads
    read at most `prefetch` batches ahead; with 0, or if the dataset is in memory, where reading is
    quicker than handing over, batches are made in the caller's thread. A `sampler` draws the images
    in place of `shuffle`; an epoch then is as long, but not all images need come in it.
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
        sampler: BalancedSampler | None = None,
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
        self.sampler = sampler

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
        order = self._drawn(epoch)
        steps = max(1, DRAWN_AT_ONCE // self.batch_size)

        @lru_cache(maxsize=2)  # threads may be at the end of one block and at the start of the next
        def drawn(block: int) -> tuple[Warp | None, Changes | None]:
            first = block * steps * self.batch_size
            return self._draw(epoch, order.draws[first : first + steps * self.batch_size])

        def make(step: int) -> Batch:
            index = order.index[step * self.batch_size : (step + 1) * self.batch_size]
            images = self.dataset.gather(index)
            warps, changes = drawn(step // steps)
            first = step % steps * self.batch_size
            rows = slice(first, first + len(index))
            return Batch(
                images,
                self.dataset.labels[index],
                index,
                None if warps is None else warps.rows(rows),
                changes=None if changes is None else changes.rows(rows),
            )

        return make

    def _drawn(self, epoch: int) -> Order:
        if self.sampler is not None:
            return self.sampler.order(self.seed, epoch)
        index = self._order(epoch)
        return Order(index, index)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if self.shuffle:
            return Philox(self.seed, "shuffle", epoch).permutation(len(self.dataset))
        return np.arange(len(self.dataset))

    def _draw(self, epoch: int, index: NDArray[np.int64]) -> tuple[Warp | None, Changes | None]:
        """Draw for many batches at once: the numbers depend on the sample, not on its batch."""
        if not self.augmentation:
            return None, None
        shape = self.dataset.image_shape
        warps = self.augmentation.draw(self.seed, epoch, index, *shape[:2])
        return warps, self.augmentation.draw_changes(self.seed, epoch, index, shape)


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
