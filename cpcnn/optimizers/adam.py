"""Adam and AdamW."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.context import Context
from ..core.typing import Array
from .base import Optimizer


@dataclass
class Adam(Optimizer):
    """Adam with bias correction; any weight decay is decoupled from the gradient."""

    learning_rate: float = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    slots = ("first", "second")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("beta_1", 0 <= self.beta_1 < 1)
        self._check("beta_2", 0 <= self.beta_2 < 1)
        self._check("epsilon", self.epsilon > 0)

    def apply(
        self,
        ctx: Context,
        *arrays: Array,
        learning_rate: float,
        weight_decay: float,
        scale: Array | None,
    ) -> None:
        ctx.ops.adam_update(
            *arrays,
            learning_rate=learning_rate,
            beta_1=self.beta_1,
            beta_2=self.beta_2,
            epsilon=self.epsilon,
            weight_decay=weight_decay,
            step=self.step,
            scale=scale,
        )


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay on by default (Loshchilov and Hutter, 2019)."""

    weight_decay: float = 0.01
