"""One pass over the files of a data set: each is found in the image cache, or decoded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from .cache import ImageCache
from .cache.digests import NO_KEY
from .cache.segment import table_type
from .contents import Content, key_of, read_content
from .images.decode import BadImage
from .images.preprocess import Preprocessing
from .layouts.image_folder import Sample
from .statistics import sum_images

CHUNK_BYTES = 1 << 20  # decoded pixels per task: short enough to stop quickly
LARGEST_CHUNK = 256


class Reading:
    """Reads the images of samples in threads, chunk by chunk, and keeps what was asked for.

    `images` (N, H, W, C) gets them all, if given. With a `cache` they are taken from it where they
    are there, and added where they are not: `places` says where in its `store` they lie after
    `read`. `digests` (N, 32) has the SHA-256 of the files if there is a cache or `hashed` asks for
    it, `first` and `second` (N, C) the sums of values and squares, `bad` what cannot be read.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocessing: Preprocessing,
        *,
        images: NDArray[np.uint8] | None = None,
        cache: ImageCache | None = None,
        hashed: bool = False,
    ) -> None:
        self.samples = samples
        self.preprocessing = preprocessing
        self.images = images
        self.index = None if cache is None else cache.digests
        self.store = None if cache is None else cache.store(preprocessing)
        self.cache = cache
        self.hashed = hashed or self.store is not None
        self.bad: dict[int, BadImage] = {}
        self._large: set[int] = set()
        self.digests = np.zeros((len(samples) if self.hashed else 0, 32), np.uint8)
        self.places = np.full(len(samples) if self.store is not None else 0, -1, np.int64)
        shape = preprocessing.height, preprocessing.width, preprocessing.channels
        self.shape = shape
        self.first = np.zeros((len(samples), shape[2]), np.uint64)
        self.second = np.zeros((len(samples), shape[2]), np.uint64)

    def read(self, workers: int) -> Iterator[int]:
        """Read everything, and yield again and again how many files are done."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        pool = ThreadPoolExecutor(max(1, workers), thread_name_prefix="cpcnn-decode")
        done = 0
        try:
            tasks = {
                pool.submit(self._read_chunk, chunk): chunk
                for chunk in chunks(len(self.samples), self.shape)
            }
            for task in as_completed(tasks):
                self.bad.update(task.result())
                done += len(tasks.pop(task))
                yield done
        finally:
            # After an error or Ctrl-C only the few chunks in progress are waited for.
            pool.shutdown(wait=True, cancel_futures=True)
            self._complete()

    def _complete(self) -> None:
        """Keep in the cache what was read, all of it or as far as it went."""
        if self.store is not None:
            self.store.flush()
            self.places = self.store.find(self.digests)
            self.places[sorted(self.bad)] = -1
        if self.cache is not None:
            self.cache.save_digests()

    # ---- A chunk, in a thread ----------------------------------------------------------------

    def _read_chunk(self, chunk: range) -> dict[int, BadImage]:
        missing = chunk if self.store is None else self._recall(chunk)
        bad: dict[int, BadImage] = {}
        good: list[int] = []
        block = np.empty((len(missing), *self.shape), np.uint8)
        for position in missing:
            try:
                if self._load(position, block[len(good)]):
                    good.append(position)
            except BadImage as error:
                bad[position] = error
        self._keep(good, block[: len(good)])
        return bad

    def _recall(self, chunk: range) -> list[int]:
        """Take from the cache what is there without reading a file; return what is missing."""
        assert self.index is not None
        keys = [key_of(self.samples[position]) or NO_KEY for position in chunk]
        digests, known = self.index.find(keys)
        positions = np.arange(chunk.start, chunk.stop)
        self.digests[positions] = digests
        return positions[~(known & self._take(positions))].tolist()

    def _take(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Use what the store has of images (n,) whose digests are known; say which (n,)."""
        if self.store is None:
            return np.zeros(len(positions), bool)
        places = self.store.find(self.digests[positions])
        taken = places >= 0
        if not taken.any():
            return taken
        there, found = positions[taken], places[taken]
        if self.images is not None:
            block = np.empty((len(there), *self.shape), np.uint8)
            right = self.store.read_many(found, block)
            there, found, taken[taken] = there[right], found[right], right
            self.images[there] = block[right]
        table = self.store.rows(found)
        self.first[there], self.second[there] = table["first"], table["second"]
        return taken

    def _load(self, position: int, out: NDArray[np.uint8]) -> bool:
        """Decode a file to `out` (H, W, C); False if its content turns out to be in the store."""
        sample = self.samples[position]
        if not self.hashed:
            out[...] = self.preprocessing.load(sample.path)
            return True
        content = read_content(sample)
        self._note(position, content)
        if (
            self.store is not None
            and self.store.may_have(content.sha256)
            and self._take(np.array([position])).any()
        ):
            return False
        if content.data is None:
            self._large.add(position)
        out[...] = self.preprocessing.load(sample.path, content.data)
        return True

    def _note(self, position: int, content: Content) -> None:
        known = self.digests[position].tobytes() == content.sha256
        self.digests[position] = np.frombuffer(content.sha256, np.uint8)
        if self.index is not None and content.key is not None and not known:
            self.index.add(content.key, content.sha256)

    def _keep(self, positions: list[int], block: NDArray[np.uint8]) -> None:
        """Keep images (n, H, W, C) that were decoded."""
        if not positions:
            return
        if self.images is not None:
            self.images[positions] = block
        first, second = sum_images(block)
        self.first[positions], self.second[positions] = first, second
        if self.store is not None:
            table = np.empty(len(positions), table_type(self.shape[2]))
            table["sha256"] = self.digests[positions]
            table["first"], table["second"] = first, second
            # A large file was read twice: it may not be the one any more that was hashed.
            sure = np.array([position not in self._large for position in positions])
            self.store.add(block[sure], table[sure])


def chunks(length: int, image_shape: tuple[int, int, int]) -> list[range]:
    """Cut so many images of a shape into pieces that are short work."""
    image_bytes = int(np.prod(image_shape))
    size = min(max(CHUNK_BYTES // image_bytes, 1), LARGEST_CHUNK)
    return [range(start, min(start + size, length)) for start in range(0, length, size)]
