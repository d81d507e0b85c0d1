"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.context import Context
from ..core.options import check_number
from ..core.typing import Array
from ..schedules import Schedule
from .base import Optimizer


@dataclass
class RMSprop(Optimizer):
    """Gradients divided by the root of a running mean of their squares (Hinton, 2012).

    With `centered` it is the root of their variance. As in Keras `epsilon` is inside the root, and
    momentum goes by steps that already hold the learning rate; PyTorch does neither, and its
    alpha, here `rho`, is 0.99. Weight decay is decoupled, as in Keras.
    """

    learning_rate: float | Schedule = 0.001
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "rho", least=0, below=1)
        check_number(self, "momentum", least=0, below=1)
        check_number(self, "epsilon", above=0)

    @property
    def slots(self) -> tuple[str, ...]:
        """The running means that are used, and the velocity if there is momentum."""
        mean = ("mean",) if self.centered else ()
        velocity = ("velocity",) if self.momentum > 0 else ()
        return ("square", *mean, *velocity)

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        ctx.ops.rmsprop_update(
            *arrays,
            rho=self.rho,
            momentum=self.momentum,
            epsilon=self.epsilon,
            centered=self.centered,
            **options,
        )
