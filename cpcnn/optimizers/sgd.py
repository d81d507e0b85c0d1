"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.context import Context
from ..core.options import check_number
from ..core.typing import Array
from ..schedules import Schedule
from .base import Optimizer


@dataclass
class SGD(Optimizer):
    """Gradient descent with momentum, optionally Nesterov's.

    Weight decay is an L2 gradient, as in PyTorch, and goes through the momentum; Keras decouples
    it.
    """

    learning_rate: float | Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False

    slots = ("velocity",)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "momentum", least=0, below=1)

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        ctx.ops.sgd_update(*arrays, momentum=self.momentum, nesterov=self.nesterov, **options)
