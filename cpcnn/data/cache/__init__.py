"""Decoded images on the disk, so that later epochs and later runs read arrays."""

from .digests import DigestIndex, fingerprint, has_settled
from .image_cache import ImageCache
from .place import cache_folder, cache_limit
from .store import ImageStore

__all__ = [
    "DigestIndex",
    "ImageCache",
    "ImageStore",
    "cache_folder",
    "cache_limit",
    "fingerprint",
    "has_settled",
]
