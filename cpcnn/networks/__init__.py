"""Ready networks, as functions from an input shape and a number of classes to layers."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from ..core.errors import UsageError
from ..core.typing import Shape
from ..layers import Stack
from .resnet import resnet9, resnet18
from .simple import simple

NETWORKS: dict[str, Callable[..., Stack]] = {
    "simple": simple,
    "resnet9": resnet9,
    "resnet18": resnet18,
}

__all__ = ["NETWORKS", "build_network", "resnet9", "resnet18", "simple"]


def build_network(name: str, input_shape: Shape, classes: int, *, width: float = 1.0) -> Stack:
    """Make a network by name for images (H, W, C); UsageError for an unknown name."""
    if name not in NETWORKS:
        close = difflib.get_close_matches(name, NETWORKS, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise UsageError(
            f"there is no network named {name!r}.{hint}",
            suggestion=f"Known networks: {', '.join(NETWORKS)}.",
        )
    if not 0 < width < math.inf:
        raise UsageError(f"width must be a number greater than 0, not {width!r}.")
    return NETWORKS[name](input_shape, classes, width=width)
