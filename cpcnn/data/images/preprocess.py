"""How a file becomes a network's input; part of the model, so that it is the same for ever."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median_low
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.errors import CheckpointError, DataError, UsageError
from .decode import BadImage, Header, decoded, image_to_array, opened_image, read_header
from .reduced_jpeg import JPEG_SCALES, reduce_jpeg
from .resize import INTERPOLATIONS, RESIZE_MODES, resize_image

HEADERS_READ = 256
LARGEST_KEPT_SIZE = 256
SIZE_STEP, SMALLEST_SIZE, LARGEST_SIZE = 32, 32, 224
LARGEST_SIDE = 16384
DEFAULT_INTERPOLATION = "bilinear"
DEFAULT_JPEG = "full"
# Left out of the config where they have their default, as they are in old checkpoints.
OPTIONAL = {"interpolation": DEFAULT_INTERPOLATION, "jpeg": DEFAULT_JPEG}


@dataclass(frozen=True)
class Preprocessing:
    """Size, channels, resize mode and normalisation of a network's input.

    `mean` and `std` are per channel, in units of 0..255; by default they map 0..255 to 0..1.
    `interpolation` is a resampling filter of INTERPOLATIONS. `jpeg` says at which scale JPEGs are
    decoded before they are resized: "full", or "reduced", where much is left of them all the same
    (`reduced_jpeg.py`). The defaults of both are left out of the config.
    """

    height: int
    width: int
    channels: int = 3
    resize: str = "squash"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    interpolation: str = DEFAULT_INTERPOLATION
    jpeg: str = DEFAULT_JPEG

    def __post_init__(self) -> None:
        _require(self.channels in (1, 3), f"channels must be 1 or 3, not {self.channels!r}")
        for side in ("height", "width"):
            value = getattr(self, side)
            _require(
                type(value) is int and 1 <= value <= LARGEST_SIDE,
                f"{side} must be a whole number from 1 to {LARGEST_SIDE}, not {value!r}",
            )
        _require(
            self.resize in RESIZE_MODES,
            f"resize must be one of {', '.join(RESIZE_MODES)}, not {self.resize!r}",
        )
        _require(
            self.interpolation in INTERPOLATIONS,
            f"interpolation must be one of {', '.join(INTERPOLATIONS)}, not {self.interpolation!r}",
        )
        _require(
            self.jpeg in JPEG_SCALES,
            f"jpeg must be one of {', '.join(JPEG_SCALES)}, not {self.jpeg!r}",
        )
        self._set_statistics("mean", 0.0)
        self._set_statistics("std", 255.0)
        _require(min(self.std) > 0.0, f"std must be above 0, not {self.std}")

    def _set_statistics(self, name: str, default: float) -> None:
        values = tuple(float(value) for value in getattr(self, name)) or (default,) * self.channels
        _require(
            len(values) == self.channels and all(map(math.isfinite, values)),
            f"{name} must be {self.channels} finite numbers, not {values}",
        )
        object.__setattr__(self, name, values)

    def load(self, path: Path, data: bytes | None = None) -> NDArray[np.uint8]:
        """Decode and resize a file to uint8 (height, width, channels); raises BadImage.

        `data` is the file's content, where it has been read already.
        """
        size = self.height, self.width
        with opened_image(path, data) as image:
            region = reduce_jpeg(image, *size, self.resize) if self.jpeg == "reduced" else None
            upright = decoded(image, self.channels)
        return image_to_array(resize_image(upright, *size, self.resize, self.interpolation, region))

    def to_config(self) -> dict[str, Any]:
        """Return the settings as plain JSON values."""
        config = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        return {k: v for k, v in config.items() if k not in OPTIONAL or v != OPTIONAL[k]}

    @classmethod
    def from_config(cls, config: Any) -> Preprocessing:
        """Rebuild from `to_config`; raises CheckpointError for anything else."""
        names = {field.name for field in fields(cls)} - OPTIONAL.keys()
        if not isinstance(config, dict) or config.keys() - OPTIONAL.keys() != names:
            raise CheckpointError(
                f"the preprocessing must hold exactly {', '.join(sorted(names))}; found {config!r}."
            )
        try:
            return cls(**config)
        except (UsageError, TypeError, ValueError) as error:
            raise CheckpointError(f"the preprocessing is damaged: {error}") from error


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UsageError(f"preprocessing: {message}.")


def read_headers(paths: Sequence[Path], limit: int = HEADERS_READ) -> list[Header]:
    """Read the headers of at most `limit` evenly spaced files, leaving out the unreadable ones.

    Raises DataError if none of them can be read.
    """
    count = min(limit, len(paths))
    chosen = [paths[i * len(paths) // count] for i in range(count)]
    headers, reasons = [], []
    for path in chosen:
        try:
            headers.append(read_header(path))
        except BadImage as error:
            reasons.append(str(error))
    if not headers:
        first = f" The first: {reasons[0]}" if reasons else ""
        raise DataError(
            f"none of {count} sampled files is a readable image.{first}",
            suggestion="Look at the files themselves: were they copied or downloaded whole?",
        )
    return headers


def choose_size(headers: Sequence[Header]) -> tuple[int, int]:
    """Choose (height, width) for images with these headers.

    Images of one size up to 256 keep it. Others get a square of the median of their shorter sides,
    rounded down to a multiple of 32, from 32 to 224.
    """
    sizes = {(header.height, header.width) for header in headers}
    common = next(iter(sizes))
    if len(sizes) == 1 and max(common) <= LARGEST_KEPT_SIZE:
        return common
    shorter = median_low([min(header.height, header.width) for header in headers])
    side = min(max(shorter // SIZE_STEP * SIZE_STEP, SMALLEST_SIZE), LARGEST_SIZE)
    return side, side


def choose_channels(headers: Sequence[Header]) -> int:
    """Choose 1 channel if every image is grey, else 3."""
    return 1 if all(header.grey for header in headers) else 3
