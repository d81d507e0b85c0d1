"""Adam and AdamW."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.context import Context
from ..core.options import check_number
from ..core.typing import Array
from ..schedules import Schedule
from .base import Optimizer


@dataclass
class Adam(Optimizer):
    """Adam with bias correction; any weight decay is decoupled from the gradient.

    Kingma and Ba, 2015, arXiv:1412.6980. `epsilon` is the paper's 1e-8; Keras has 1e-7.
    """

    learning_rate: float | Schedule = 0.001
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    slots = ("first", "second")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "beta_1", least=0, below=1)
        check_number(self, "beta_2", least=0, below=1)
        check_number(self, "epsilon", above=0)

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        ctx.ops.adam_update(*arrays, **self._moments(), **options)

    def _moments(self) -> dict[str, Any]:
        """What the ops of Adam and its relatives are told besides."""
        return {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "step": self.step,
        }


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay on by default.

    Loshchilov and Hutter, 2019, arXiv:1711.05101. The default decay is PyTorch's 0.01; Keras has
    0.004.
    """

    weight_decay: float | None = 0.01
