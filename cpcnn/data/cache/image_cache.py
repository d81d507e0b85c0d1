"""The image cache of a user: a store for each preprocessing, and what is known of files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .digests import DigestIndex
from .place import cache_folder, cache_limit
from .store import ImageStore

if TYPE_CHECKING:
    from ..images.preprocess import Preprocessing

OUR_DECODING = 1  # to be raised when the same file comes to give other pixels
LIBRARIES = ("libjpeg_turbo", "jpg", "libtiff", "webp")
STATISTICS = ("mean", "std")  # applied to what is kept, so no part of it


class ImageCache:
    """Opens the stores in a folder, by default the user's, of at most `limit` bytes.

    Without a place for it nothing is kept. UsageError if CPCNN_CACHE_SIZE is no size.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = cache_folder() if folder is None else folder.absolute()
        self.limit = cache_limit() if limit is None else limit
        self._stores: dict[bytes, ImageStore] = {}
        self._unsaved = ""
        self._homeless = "it has no place on this system"

    @classmethod
    def without_place(cls, reason: str) -> ImageCache:
        """Return one that keeps nothing, for this reason."""
        cache = cls()
        cache.folder, cache._homeless = None, reason
        return cache

    @cached_property
    def digests(self) -> DigestIndex | None:
        """What is known of files."""
        return None if self.folder is None else DigestIndex(self.folder)

    def store(self, preprocessing: Preprocessing) -> ImageStore | None:
        """Return the store of images that are decoded as `preprocessing` says."""
        if self.folder is None:
            return None
        identity = identity_of(preprocessing)
        if identity not in self._stores:
            shape = preprocessing.height, preprocessing.width, preprocessing.channels
            size = "x".join(map(str, shape))
            name = f"{size}-{preprocessing.resize}-{hashlib.sha256(identity).hexdigest()[:12]}"
            self._stores[identity] = ImageStore(self.folder, name, identity, shape, self.limit)
        return self._stores[identity]

    def save_digests(self) -> None:
        """Keep what was learned of files, if that can be written."""
        if self.digests is None:
            return
        try:
            self.digests.save()
        except OSError as error:
            self._unsaved = f"The image cache {self.folder} cannot be written ({error.strerror})."

    def notices(self) -> tuple[str, ...]:
        """Say, in at most one line, that something is not kept, and why; and what was damaged."""
        problems = [store.problem for store in self._stores.values() if store.problem]
        if self.folder is None:
            problems.append(
                f"There is no image cache: {self._homeless}. CPCNN_IMAGE_CACHE can name a folder."
            )
        if self._unsaved:
            problems.append(self._unsaved)
        damaged = any(store.damaged for store in self._stores.values())
        healed = ["Part of the image cache was damaged: its images are decoded anew."] * damaged
        return (*problems[:1], *healed)


def identity_of(preprocessing: Preprocessing) -> bytes:
    """Return all that decides what the pixels of a file become, as JSON."""
    from PIL import __version__, features

    config = {key: v for key, v in asdict(preprocessing).items() if key not in STATISTICS}
    versions = {name: features.version(name) for name in LIBRARIES}
    what = {"images": config, "decoding": OUR_DECODING, "pillow": __version__, **versions}
    return json.dumps(what, sort_keys=True).encode()
