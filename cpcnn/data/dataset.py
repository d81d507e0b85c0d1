"""Datasets: labelled images that can be gathered by index, from files or from arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError, UsageError
from .decode import BadImage
from .image_folder import Sample, empty_classes
from .manifest import sha256_of
from .memory import available_memory
from .preprocess import Preprocessing
from .statistics import measure_statistics

MEMORY_SHARE = 4  # a quarter of the available memory
CHUNK_BYTES = 1 << 20  # decoded pixels per task: short enough to stop quickly
LARGEST_CHUNK = 256
BAD_SHOWN = 10

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

    The decoded images are kept as uint8 if they fit `memory_limit` bytes (by default a quarter of
    the available memory); else `gather` decodes them again each time. `bad` lists the files that
    `prepare` could not read; `samples` and `labels` hold the others. `digests` has the SHA-256 of
    each of their files, if `prepare` was asked for them.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        classes: Sequence[str],
        preprocessing: Preprocessing,
        *,
        memory_limit: int | None = None,
    ) -> None:
        self.samples = tuple(samples)
        self.classes = tuple(classes)
        self.preprocessing = preprocessing
        self.labels = _label_indices(self.samples, self.classes)
        self.bad: list[BadImage] = []
        self.digests: tuple[str, ...] = ()
        self._memory_limit = memory_limit
        self._images: NDArray[np.uint8] | None = None
        self._rows: NDArray[np.int64] | None = None  # of the good samples, where some are bad

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        return self.preprocessing.height, self.preprocessing.width, self.preprocessing.channels

    @property
    def in_memory(self) -> bool:
        """Whether the decoded images are kept."""
        return self._images is not None

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
        """Decode every file once, in `workers` threads; `progress(done, total)` is called here.

        With `digests` the content of each file is hashed by the same threads.

        Unreadable files are dropped and listed in `bad`, in the order of `samples` ("skip"), or
        raise a DataError that names them ("fail"). It is also raised if no image is left.
        """
        if on_error not in ("skip", "fail"):
            raise UsageError(f"on_error must be 'skip' or 'fail', not {on_error!r}.")
        images = self._allocate()
        hashes = [""] * len(self) if digests else None
        bad: dict[int, BadImage] = {}
        for done, failures in self._decode_all(images, hashes, workers):
            bad.update(failures)
            if progress is not None:
                progress(done, len(self))
        if bad and on_error == "fail":
            raise _bad_files(self._in_order(bad), len(self))
        if len(bad) == len(self):
            raise _nothing_left(self._in_order(bad))
        self.digests = tuple(hashes or ())
        self._keep(images, bad)

    def gather(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the images of `index` (B,) as a new uint8 array (B, H, W, C)."""
        if self._images is not None:
            return self._images.take(index if self._rows is None else self._rows[index], axis=0)
        out = np.empty((len(index), *self.image_shape), np.uint8)
        for row, position in enumerate(index):
            out[row] = self.preprocessing.load(self.samples[position].path)
        return out

    def check_classes(self) -> None:
        """Raise DataError if a class has no readable image left to train on."""
        counts = np.bincount(self.labels, minlength=len(self.classes))
        if not counts.all():
            raise empty_classes(dict(zip(self.classes, counts.tolist(), strict=True)))

    def measure(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the exact (mean, std) per channel of all images."""
        chunks = _chunks(len(self), self.image_shape)
        return measure_statistics(self.gather(np.arange(c.start, c.stop)) for c in chunks)

    def _allocate(self) -> NDArray[np.uint8] | None:
        limit = self._memory_limit
        if limit is None:
            limit = available_memory() // MEMORY_SHARE
        shape = (len(self), *self.image_shape)
        return np.empty(shape, np.uint8) if np.prod(shape, dtype=np.int64) <= limit else None

    def _decode_all(
        self, images: NDArray[np.uint8] | None, hashes: list[str] | None, workers: int
    ) -> Iterator[tuple[int, dict[int, BadImage]]]:
        """Decode chunk by chunk in threads; yield the number of files done and new failures."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        chunks = _chunks(len(self), self.image_shape)
        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-decode")
        done = 0
        try:
            tasks = {
                pool.submit(self._decode_chunk, chunk, images, hashes): chunk for chunk in chunks
            }
            for task in as_completed(tasks):
                done += len(tasks[task])
                yield done, task.result()
        finally:
            # After an error or Ctrl-C only the few chunks in progress are waited for.
            pool.shutdown(wait=True, cancel_futures=True)

    def _decode_chunk(
        self, chunk: range, images: NDArray[np.uint8] | None, hashes: list[str] | None
    ) -> dict[int, BadImage]:
        bad = {}
        for position in chunk:
            try:
                image = self.preprocessing.load(self.samples[position].path)
            except BadImage as error:
                bad[position] = error
                continue
            if images is not None:
                images[position] = image
            if hashes is not None:  # the file was read just now: it comes from the system's cache
                hashes[position] = sha256_of(self.samples[position].path)
        return bad

    def _keep(self, images: NDArray[np.uint8] | None, bad: dict[int, BadImage]) -> None:
        """Drop the bad samples; their rows of `images` stay, unused."""
        self._images = images
        self._rows = None
        self.bad = self._in_order(bad)
        if bad:
            self._rows = np.setdiff1d(np.arange(len(self)), list(bad))
            self.samples = tuple(self.samples[row] for row in self._rows)
            if self.digests:
                self.digests = tuple(self.digests[row] for row in self._rows)
            self.labels = self.labels[self._rows]

    @staticmethod
    def _in_order(bad: dict[int, BadImage]) -> list[BadImage]:
        return [bad[position] for position in sorted(bad)]


class ArrayDataset:
    """Images already in an array (N, H, W, C) of any dtype, with integer or one-hot labels."""

    in_memory = True

    def __init__(
        self, images: ArrayLike, labels: ArrayLike, classes: Sequence[str] | None = None
    ) -> None:
        self.images = np.asarray(images)
        if self.images.ndim != 4:
            raise DataError(
                f"images must have the shape (N, H, W, C), not {self.images.shape}.",
                suggestion="Grey images need a last axis: images[..., None]; "
                "a single image a first: image[None].",
            )
        self.labels, count = _class_indices(np.asarray(labels))
        if len(self.labels) != len(self.images):
            raise DataError(f"{len(self.images)} images, but {len(self.labels)} labels.")
        self.classes = tuple(map(str, range(count))) if classes is None else tuple(classes)
        if len(self.classes) < count:
            raise DataError(f"labels name {count} classes, but {len(self.classes)} are given.")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image."""
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the images of `index` (B,) as a new array (B, H, W, C)."""
        return self.images.take(index, axis=0)


def _label_indices(samples: Sequence[Sample], classes: Sequence[str]) -> NDArray[np.int64]:
    positions = {name: position for position, name in enumerate(classes)}
    unknown = {sample.label for sample in samples} - positions.keys()
    if unknown:
        raise DataError(
            f"images of unknown classes: {', '.join(sorted(unknown))}. "
            f"Known are: {', '.join(classes)}."
        )
    return np.array([positions[sample.label] for sample in samples], dtype=np.int64)


def _class_indices(labels: NDArray[Any]) -> tuple[NDArray[np.int64], int]:
    """Return int64 labels (N,) and the number of classes, from integers or one-hot rows."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return _from_one_hot(labels), labels.shape[1]
    if labels.ndim == 2:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise DataError(f"labels must have the shape (N,) or (N, classes), not {labels.shape}.")
    if labels.dtype.kind not in "biuf":
        raise DataError(f"labels must be class numbers or one-hot rows, not {labels.dtype}.")
    indices = labels.astype(np.int64)
    if (indices != labels).any() or (indices < 0).any():
        raise DataError("class numbers must be whole and not negative.")
    return indices, int(indices.max(initial=-1)) + 1


def _from_one_hot(labels: NDArray[Any]) -> NDArray[np.int64]:
    indices: NDArray[np.int64] = labels.argmax(axis=1)
    if not np.array_equal(np.eye(labels.shape[1])[indices], labels):
        raise DataError(
            f"labels of shape {labels.shape} must be one-hot rows: a single 1, all else 0."
        )
    return indices


def _chunks(length: int, image_shape: tuple[int, int, int]) -> list[range]:
    image_bytes = int(np.prod(image_shape))
    size = min(max(CHUNK_BYTES // image_bytes, 1), LARGEST_CHUNK)
    return [range(start, min(start + size, length)) for start in range(0, length, size)]


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
