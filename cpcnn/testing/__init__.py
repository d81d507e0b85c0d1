"""Checks that an op or a layer keeps its promises: for our own tests and for plug-ins'.

They raise AssertionError, and are cheap: a gradient is checked along one random direction.
"""

from __future__ import annotations

from .gradient import check_gradient
from .layers import check_layer
from .ops import check_op

__all__ = ["check_gradient", "check_layer", "check_op"]
