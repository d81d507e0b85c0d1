"""The image cache as `--cache` chooses it."""

from __future__ import annotations

from pathlib import Path

from ..data.cache import ImageCache

WITHOUT_CACHE = ("memory", "off")


def open_cache(choice: str, data: Path) -> ImageCache | None:
    """Return the user's image cache for the images of a folder; None if it has no part in them.

    Nothing is ever written into the data folder: a cache that lies there is not used.
    """
    if choice in WITHOUT_CACHE:
        return None
    cache = ImageCache()
    if cache.folder is not None and cache.folder.resolve().is_relative_to(data.resolve()):
        return ImageCache.without_place(f"{cache.folder} lies in the data folder")
    return cache
