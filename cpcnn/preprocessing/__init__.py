"""Keras' way to images: `cpcnn.preprocessing.image.ImageDataGenerator`."""

from __future__ import annotations

from .image import ImageDataGenerator

__all__ = ["ImageDataGenerator"]
