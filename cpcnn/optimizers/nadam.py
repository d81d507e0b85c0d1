"""Nadam."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.context import Context
from ..core.options import check_number
from ..core.typing import Array
from .adam import Adam


@dataclass
class Nadam(Adam):
    """Adam with Nesterov's momentum (Dozat, 2016); any weight decay is decoupled.

    The momentum of step t is beta_1 · (1 - 0.96^(t · momentum_decay) / 2). `momentum_decay` is 1
    in Keras, which has no such option, and 0.004 in PyTorch.
    """

    epsilon: float = 1e-7
    momentum_decay: float = field(default=1.0, kw_only=True)

    # (steps, the product of their momenta): one more step is one more factor
    _product: tuple[int, float] = field(default=(0, 1.0), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "momentum_decay", least=0)

    def apply(self, ctx: Context, *arrays: Array, **options: Any) -> None:
        ctx.ops.nadam_update(
            *arrays,
            momentum=self._momentum(self.step),
            next_momentum=self._momentum(self.step + 1),
            product=self._momentum_product(),
            **self._moments(),
            **options,
        )

    def _momentum(self, step: int) -> float:
        return float(self.beta_1 * (1 - 0.5 * 0.96 ** (step * self.momentum_decay)))

    def _momentum_product(self) -> float:
        steps, product = self._product
        if steps > self.step:  # the state was set back
            steps, product = 0, 1.0
        for step in range(steps + 1, self.step + 1):
            product *= self._momentum(step)
        self._product = self.step, product
        return product
