"""Datasets: labelled images that can be gathered by index, from files or from arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..core.errors import DataError, UsageError
from .cache import ImageCache, ImageStore
from .images.decode import BadImage
from .images.preprocess import Preprocessing
from .layouts.image_folder import Sample, empty_classes
from .memory import available_memory
from .reading import Reading, chunks
from .statistics import measure_statistics, statistics_of_sums

MEMORY_SHARE = 4  # a quarter of the available memory
BAD_SHOWN = 10

# Where decoded images are kept, by the name of the choice.
KEPT = ("auto", "memory", "disk", "off")

Progress = Callable[[int, int], None]


class Dataset(Protocol):
    """Images with int64 labels (N,); `gather` takes int64 (B,) and returns (B, H, W, C)."""

    @property
    def labels(self) -> NDArray[np.int64]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def image_shape(self) -> tuple[int, int, int]: ...
    @property
    def in_memory(self) -> bool: ...
    def __len__(self) -> int: ...
    def gather(self, index: NDArray[np.int64]) -> NDArray[Any]: ...


class ImageDataset:
    """Image files, checked and decoded once by `prepare`, before any training starts.

    `kept` says where the decoded images (uint8) are afterwards. "memory" keeps them in memory if
    they fit `memory_limit` bytes (by default a quarter of the available memory). "disk" maps them
    from files of the `cache`, by default the user's: the system holds as much of them in memory
    as it has to spare, and gives it back when it needs it. "auto" keeps them in memory if they fit,
    else on the disk, and in either case takes them from the cache when they are there, and leaves
    them there for the next run. "off" keeps nothing. What is not kept is decoded again by every
    `gather`, which gives the same images.

    `bad` lists the files that `prepare` could not read; `samples` and `labels` hold the others.
    `digests` has the SHA-256 of each of their files, if `prepare` was asked for them.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        *,
        memory_limit: int | None = None,
        kept: str = "memory",
        cache: ImageCache | None = None,
    ) -> None:
        if kept not in KEPT:
            raise UsageError(f"images are kept in one of {', '.join(KEPT)}, not {kept!r}.")
        self.samples = tuple(samples)
        self.classes = tuple(classes)
        self.preprocessing = preprocessing
        self.labels = _label_indices(self.samples, self.classes)
        self.bad: list[BadImage] = []
        self.digests: tuple[str, ...] = ()
        self.kept = kept
        self._memory_limit = memory_limit
        self._cache = cache
        self._images: NDArray[np.uint8] | None = None
        self._rows: NDArray[np.int64] | None = None  # of the good samples, where some are bad
        self._sums: tuple[NDArray[np.uint64], NDArray[np.uint64]] | None = None
        self._store: ImageStore | None = None
        self._places: NDArray[np.int64] | None = None  # of the good samples in the store

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.preprocessing.height, self.preprocessing.width, self.preprocessing.channels

    @property
    def in_memory(self) -> bool:
        """Whether the decoded images are kept in memory."""
        return self._images is not None

    @property
    def on_disk(self) -> int:
        """The number of images that are mapped from the disk."""
        return 0 if self._places is None else int((self._places >= 0).sum())

    def __len__(self) -> int:
        return len(self.samples)

    def prepare(
        self,
        *,
        workers: int = 2,
        on_error: Literal["skip", "fail"] = "skip",
        progress: Progress | None = None,
        digests: bool = False,
    ) -> None:
        """Read every file once, in `workers` threads; `progress(done, total)` is called here.

        With `digests` the content of each file is hashed by the same threads.

        Unreadable files are dropped and listed in `bad`, in the order of `samples` ("skip"), or
        raise a DataError that names them ("fail"). It is also raised if no image is left.
        """
        if on_error not in ("skip", "fail"):
            raise UsageError(f"on_error must be 'skip' or 'fail', not {on_error!r}.")
        reading = Reading(
            self.samples,
            self.preprocessing,
            images=self._allocate(),
            cache=self._cache_in_use(),
            hashed=digests,
        )
        for done in reading.read(workers):
            if progress is not None:
                progress(done, len(self))
        bad = [reading.bad[position] for position in sorted(reading.bad)]
        if bad and on_error == "fail":
            raise _bad_files(bad, len(self))
        if len(bad) == len(self):
            raise _nothing_left(bad)
        self._keep(reading, bad, digests)

    def gather(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images of `index` (B,) as a new uint8 array (B, H, W, C)."""
        if self._images is not None:
            return self._images.take(index if self._rows is None else self._rows[index], axis=0)
        out = np.empty((len(index), *self.image_shape), np.uint8)
        for row, position in enumerate(index.tolist()):
            if not self._read_kept(position, out[row]):
                out[row] = self.preprocessing.load(self.samples[position].path)
        return out

    def check_classes(self) -> None:
        """Raise DataError if a class has no readable image left to train on."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        if not counts.all():
            raise empty_classes(dict(zip(self.classes, counts.tolist(), strict=True)))

    def measure(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the exact (mean, std) per channel of all images."""
        if self._sums is None:
            pieces = chunks(len(self), self.image_shape)
            return measure_statistics(self.gather(np.arange(c.start, c.stop)) for c in pieces)
        first, second = (sums.sum(axis=0, dtype=np.uint64) for sums in self._sums)
        return statistics_of_sums(len(self) * prod(self.image_shape[:2]), first, second)

    def _read_kept(self, position: int, out: NDArray[np.uint8]) -> bool:
        """Copy an image from the disk cache to `out`; False if it is not there, or damaged."""
        if self._store is None or self._places is None:
            return False
        place = int(self._places[position])
        if place < 0:
            return False
        if self._store.read(place, out):
            return True
        self._places[position] = -1
        return False

    def _allocate(self) -> NDArray[np.uint8] | None:
        if self.kept in ("disk", "off"):
            return None
        limit = self._memory_limit
        if limit is None:
            limit = available_memory() // MEMORY_SHARE
        shape = (len(self), *self.image_shape)
        return np.empty(shape, np.uint8) if prod(shape) <= limit else None

    def _cache_in_use(self) -> ImageCache | None:
        if self.kept in ("memory", "off"):
            return None
        return ImageCache() if self._cache is None else self._cache

    def _keep(self, reading: Reading, bad: list[BadImage], digests: bool) -> None:
        """Drop the bad samples; their rows of the images in memory stay, unused."""
        self.bad = bad
        good = np.setdiff1d(np.arange(len(self)), list(reading.bad)) if bad else None
        rows: NDArray[np.int64] | slice = slice(None) if good is None else good
        self._images, self._rows = reading.images, good
        self._sums = reading.first[rows], reading.second[rows]
        self._store = self._places = None
        if reading.store is not None and reading.images is None:
            self._store, self._places = reading.store, reading.places[rows]
            reading.store.hold(self._places)
        if reading.store is not None:
            reading.store.release()
        self.digests = _in_hexadecimal(reading.digests[rows]) if digests else ()
        if good is not None:
            self.samples = tuple(self.samples[row] for row in good)
            self.labels = self.labels[good]


def _label_indices(samples: Sequence[Sample], classes: Sequence[str]) -> NDArray[np.int64]:
    positions = {name: position for position, name in enumerate(classes)}
    unknown = {sample.label for sample in samples} - positions.keys()
    if unknown:
        raise DataError(
            f"images of unknown classes: {', '.join(sorted(unknown))}. "
            f"Known are: {', '.join(classes)}."
        )
    return np.array([positions[sample.label] for sample in samples], dtype=np.int64)


def _in_hexadecimal(digests: NDArray[np.uint8]) -> tuple[str, ...]:
    text, width = digests.tobytes().hex(), 2 * digests.shape[1]
    return tuple(text[start : start + width] for start in range(0, len(text), width))


def _bad_files(bad: Sequence[BadImage], total: int) -> DataError:
    files = f"1 of {total} files" if len(bad) == 1 else f"{len(bad)} of {total} files"
    return DataError(
        f"{files} cannot be read as images:{_listing(bad)}",
        suggestion="Repair or remove them, or have bad files skipped (--on-error skip).",
    )


def _nothing_left(bad: Sequence[BadImage]) -> DataError:
    if not bad:
        return DataError("there are no images.")
    return DataError(f"none of {len(bad)} files can be read as an image:{_listing(bad)}")


def _listing(bad: Sequence[BadImage]) -> str:
    lines = [f"\n  {error}" for error in bad[:BAD_SHOWN]]
    if len(bad) > BAD_SHOWN:
        lines.append(f"\n  and {len(bad) - BAD_SHOWN} more")
    return "".join(lines) + "\n"
