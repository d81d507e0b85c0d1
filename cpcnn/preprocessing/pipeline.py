"""What an ImageDataGenerator does to pixels: random changes, then normalisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.random import Philox
from ..data.augmentation.warp import warp_images
from .colour import change_brightness, shift_channels
from .random_transform import Ranges, Transforms
from .standardization import Standardization

Images = NDArray[Any]


@dataclass
class Pipeline:
    """The steps from stored images (B, H, W, C) to input of `dtype`, and their settings.

    `fill_mode`, `cval` and `interpolation_order` are those of `warp_images`.
    """

    ranges: Ranges
    standardization: Standardization
    fill_mode: str = "nearest"
    cval: float = 0.0
    interpolation_order: int = 1
    dtype: str = "float32"

    def draw(
        self, seed: int, epoch: int, index: NDArray[np.int64], height: int, width: int
    ) -> Transforms:
        """Draw what happens to the samples `index` (B,) in one epoch, whatever their batch."""
        return self.ranges.draw(Philox(seed, "generator", epoch), index, height, width)

    def change(self, images: Images, transforms: Transforms) -> Images:
        """Apply random changes: one warp, then channel shift and brightness."""
        warp = transforms.warp()
        changed: Images
        if warp.affine is None and warp.flip is None:
            changed = images.astype(self.working_type)
        else:
            changed = warp_images(
                images,
                warp.affine,
                warp.flip,
                fill_mode=self.fill_mode,
                cval=self.cval,
                order=self.interpolation_order,
                dtype=self.working_type,
            )
        if transforms.channel_shift_intensity is not None:
            changed = shift_channels(changed, transforms.channel_shift_intensity)
        if transforms.brightness is not None:
            changed = change_brightness(changed, transforms.brightness)
        return changed

    def process(self, images: Images, transforms: Transforms) -> Images:
        """Apply random changes and normalise, to `dtype`."""
        changed = self.change(images, transforms)
        return self.standardization.apply(changed).astype(self.dtype, copy=False)

    def device_normalisation(self, channels: int) -> dict[str, Any] | None:
        """Return the mean and std that make the op `input_stage` do the same as `process`.

        None where it cannot: it knows one way to fill and to interpolate, and no change of colour.
        """
        ranges = self.ranges
        if ranges.brightness is not None or ranges.channel_shift:
            return None
        if ranges.move and (self.fill_mode, self.interpolation_order) != ("nearest", 1):
            return None
        found = self.standardization.affine(channels)
        return None if found is None else normalisation(*found)

    @property
    def working_type(self) -> str:
        """Float32 at least: half precision has too few levels to compute with."""
        return "float64" if self.dtype == "float64" else "float32"


def normalisation(mean: NDArray[np.float64], std: NDArray[np.float64]) -> dict[str, Any]:
    """Return mean and std as a batch or a model carries them."""
    return {"mean": mean.tolist(), "std": std.tolist()}
