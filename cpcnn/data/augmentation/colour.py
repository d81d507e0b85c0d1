"""Changes of colour as matrices: brightness, contrast, saturation and hue of a batch of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])  # of ITU-R BT.601, as Pillow makes colours grey
# Luma and two axes of colour, whose rows sum to zero: grey has no colour.
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True, eq=False)
class ColourMaps:
    """Maps colour -> matrix @ colour + about_mean @ (mean colour of the image), (B, C, C) each.

    The mean is that of the stored image. Nothing is clipped between two changes, only after the
    last one.
    """

    matrix: Numbers
    about_mean: Numbers

    @classmethod
    def identity(cls, count: int, channels: int) -> ColourMaps:
        """Return the maps that change nothing."""
        matrix = np.broadcast_to(np.eye(channels), (count, channels, channels))
        return cls(matrix, np.zeros((count, channels, channels)))

    def then(self, matrix: Numbers, about_mean: Numbers | None = None) -> ColourMaps:
        """Return the maps followed by others, whose `about_mean` looks at the mean so far."""
        result = matrix @ self.about_mean
        if about_mean is not None:  # the mean is mapped as all colours are
            result = result + about_mean @ (self.matrix + self.about_mean)
        return ColourMaps(matrix @ self.matrix, result)

    def brightness(self, factor: Numbers) -> ColourMaps:
        """Multiply every channel by the factor (B,): 0 is black."""
        return self.then(self._scaled(factor))

    def contrast(self, factor: Numbers) -> ColourMaps:
        """Move colours from the mean grey of the image, factor (B,): 0 is that grey alone."""
        return self.then(self._scaled(factor), self._grey(1.0 - factor))

    def saturation(self, factor: Numbers) -> ColourMaps:
        """Move colours from their own grey, factor (B,): 0 is a grey image."""
        return self.then(self._scaled(factor) + self._grey(1.0 - factor))

    def hue(self, degrees: Numbers) -> ColourMaps:
        """Turn colours about the grey axis by degrees (B,); luma stays. Grey images stay."""
        if self.matrix.shape[-1] != len(YIQ):
            return self
        angle = np.radians(degrees)
        cosine, sine = np.cos(angle), np.sin(angle)
        turn = np.zeros((len(angle), 3, 3))
        turn[:, 0, 0] = 1.0
        turn[:, 1, 1], turn[:, 1, 2] = cosine, -sine
        turn[:, 2, 1], turn[:, 2, 2] = sine, cosine
        return self.then(np.linalg.inv(YIQ) @ turn @ YIQ)

    def _scaled(self, factor: Numbers) -> Numbers:
        return factor[:, np.newaxis, np.newaxis] * np.eye(self.matrix.shape[-1])

    def _grey(self, factor: Numbers) -> Numbers:
        """Return matrices that give every channel `factor` of the grey of a colour."""
        channels = self.matrix.shape[-1]
        weights = LUMA if channels == len(LUMA) else np.full(channels, 1 / channels)
        return factor[:, np.newaxis, np.newaxis] * np.tile(weights, (channels, 1))
