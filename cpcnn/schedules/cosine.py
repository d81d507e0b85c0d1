"""Rates along half a cosine: down, down again and again, or up and down."""

from __future__ import annotations

from dataclasses import dataclass

from ..core.options import check_number, check_whole
from .base import half_cosine


@dataclass(frozen=True)
class CosineDecay:
    """Half a cosine from `initial_learning_rate` down to `alpha` times it, in `decay_steps` steps.

    With `warmup_target` the rate first goes straight from `initial_learning_rate` to that target,
    which it has at step `warmup_steps`, and the cosine goes on from there.
    Loshchilov and Hutter, "SGDR", 2017, arXiv:1608.03983, without restarts.
    """

    initial_learning_rate: float
    decay_steps: float
    alpha: float = 0.0
    warmup_target: float | None = None
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        check_number(self, "initial_learning_rate", least=0)
        check_number(self, "decay_steps", above=0)
        check_number(self, "alpha", least=0)
        if self.warmup_target is not None:
            check_number(self, "warmup_target", least=0)
        check_whole(self, "warmup_steps", least=0)

    def __call__(self, step: int) -> float:
        top = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return top + (self.warmup_target - top) * step / self.warmup_steps
            top = self.warmup_target
            step -= self.warmup_steps
        return half_cosine(top, self.alpha * top, step / self.decay_steps)


@dataclass(frozen=True)
class CosineDecayRestarts:
    """Half cosines one after the other, each from a new top down to `alpha` times the first.

    The first takes `first_decay_steps` steps, each next one `t_mul` times as many and from `m_mul`
    times as high. Loshchilov and Hutter, "SGDR", 2017, arXiv:1608.03983.
    """

    initial_learning_rate: float
    first_decay_steps: float
    t_mul: float = 2.0
    m_mul: float = 1.0
    alpha: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "initial_learning_rate", least=0)
        check_number(self, "first_decay_steps", above=0)
        check_number(self, "t_mul", least=1)
        check_number(self, "m_mul", least=0)
        check_number(self, "alpha", least=0)

    def __call__(self, step: int) -> float:
        restarts, into, length = self._locate(step)
        first = self.initial_learning_rate
        end = self.alpha * first
        # Keras' form: the height shrinks, the floor does not
        top = end + (first - end) * self.m_mul**restarts
        return half_cosine(top, end, into / length)

    def _locate(self, step: float) -> tuple[int, float, float]:
        """Return the restarts before a step, the steps since the last, and its cosine's length."""
        length = self.first_decay_steps
        if self.t_mul == 1:
            return int(step // length), step % length, length
        restarts = 0
        while step >= length:  # logarithms would be off by one at the restarts themselves
            step -= length
            length *= self.t_mul
            restarts += 1
        return restarts, step, length


@dataclass(frozen=True)
class OneCycle:
    """Up from peak / 25 to `peak` in the first 30 % of the steps, then down to peak / 250,000.

    Both ways half a cosine (Smith and Topin, 2018, arXiv:1708.07120, in the common form).
    """

    peak: float
    total_steps: int
    warmup_share: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        check_number(self, "peak", least=0)
        check_whole(self, "total_steps", least=0)
        check_number(self, "warmup_share", least=0)
        check_number(self, "start_divisor", above=0)
        check_number(self, "final_divisor", above=0)

    def __call__(self, step: int) -> float:
        start = self.peak / self.start_divisor
        top = self.warmup_share * self.total_steps - 1
        if step <= top:
            return half_cosine(start, self.peak, step / max(top, 1))
        span = max(self.total_steps - 1 - top, 1)
        return half_cosine(self.peak, start / self.final_divisor, (step - top) / span)
