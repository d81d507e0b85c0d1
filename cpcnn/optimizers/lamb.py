"""LAMB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from ..core.context import Context
from ..core.typing import Array
from .adam import Adam


@dataclass
class Lamb(Adam):
    """Adam whose step has the length of the parameter times the learning rate, for large batches.

    You et al., 2020, arXiv:1904.00962. Every parameter has a ratio of its own, kernels, biases and
    norms alike. Weight decay is part of the step before its length is taken, as in the paper;
    Keras decays apart from it.
    """

    epsilon: float = 1e-7

    by_parameter: ClassVar[bool] = True

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        ctx.ops.lamb_update(*arrays, **self._moments(), **options)
