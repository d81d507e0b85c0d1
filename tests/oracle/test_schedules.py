"""Schedules against PyTorch, over their whole length and beyond where both go on alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn import schedules
from cpcnn.schedules import Schedule

from .against_torch import torch

pytestmark = pytest.mark.oracle

lr_scheduler = torch.optim.lr_scheduler
Draw = Callable[..., Any]
# (ours, PyTorch's for an optimizer that has the highest rate, that rate, the steps to compare)
Pair = tuple[Schedule, Callable[[Any], Any], float, int]

tops = st.sampled_from([1e-3, 0.1, 2.0])
lengths = st.integers(1, 60)
factors = st.sampled_from([0.1, 0.5, 0.97])
shares = st.sampled_from([0.0, 0.01, 0.3])


def constant(draw: Draw) -> Pair:
    top = draw(tops)
    return schedules.Constant(top), lambda o: lr_scheduler.ConstantLR(o, 1.0), top, 30


def step(draw: Draw) -> Pair:
    top, length, factor = draw(tops), draw(lengths), draw(factors)
    ours = schedules.ExponentialDecay(top, length, factor, staircase=True)
    return ours, lambda o: lr_scheduler.StepLR(o, length, factor), top, 3 * length + 2


def exponential(draw: Draw) -> Pair:
    """PyTorch's factor is that of one step."""
    top, length, factor = draw(tops), draw(lengths), draw(factors)
    ours = schedules.ExponentialDecay(top, length, factor)
    return ours, lambda o: lr_scheduler.ExponentialLR(o, factor ** (1 / length)), top, 80


def inverse_time(draw: Draw) -> Pair:
    """PyTorch has no name for it."""
    top, length, rate = draw(tops), draw(lengths), draw(factors)
    staircase = draw(st.booleans())
    ours = schedules.InverseTimeDecay(top, length, rate, staircase)

    def factor(step: int) -> float:
        return 1 / (1 + rate * (step // length if staircase else step / length))

    return ours, lambda o: lr_scheduler.LambdaLR(o, factor), top, 80


def polynomial(draw: Draw) -> Pair:
    """PyTorch's ends at zero."""
    top, length, power = draw(tops), draw(lengths), draw(st.sampled_from([0.5, 1.0, 2.0]))
    ours = schedules.PolynomialDecay(top, length, 0.0, power)
    return ours, lambda o: lr_scheduler.PolynomialLR(o, length, power), top, length + 5


def linear(draw: Draw) -> Pair:
    """A polynomial of power 1 to another end than zero."""
    top, length, end = draw(tops), draw(lengths), draw(st.sampled_from([0.01, 0.5, 1.0]))
    ours = schedules.PolynomialDecay(top, length, end * top)
    return ours, lambda o: lr_scheduler.LinearLR(o, 1.0, end, length), top, length + 5


def piecewise(draw: Draw) -> Pair:
    """Keras' boundary is the last step of a value, PyTorch's milestone the first of the next."""
    top, factor = draw(tops), draw(factors)
    marks = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=4)))
    values = [top * factor**k for k in range(len(marks) + 1)]
    ours = schedules.PiecewiseConstantDecay([mark - 1 for mark in marks], values)
    return ours, lambda o: lr_scheduler.MultiStepLR(o, marks, factor), top, 60


def cosine(draw: Draw) -> Pair:
    """After its end ours stays there, and PyTorch's rises again."""
    top, length, end = draw(tops), draw(lengths), draw(shares)
    ours = schedules.CosineDecay(top, length, end)
    return ours, lambda o: lr_scheduler.CosineAnnealingLR(o, length, end * top), top, length + 1


def cosine_after_warmup(draw: Draw) -> Pair:
    top, length, warmup = draw(tops), draw(lengths), draw(st.integers(1, 20))
    start, end = draw(st.sampled_from([0.01, 0.5])), draw(shares)
    ours = schedules.CosineDecay(start * top, length, end, top, warmup)

    def make(o: Any) -> Any:
        up = lr_scheduler.LinearLR(o, start, 1.0, warmup)
        down = lr_scheduler.CosineAnnealingLR(o, length, end * top)
        return lr_scheduler.SequentialLR(o, [up, down], [warmup])

    return ours, make, top, warmup + length + 1


def restarts(draw: Draw) -> Pair:
    """PyTorch's cosines are all as high as the first."""
    top, length, end = draw(tops), draw(st.integers(1, 15)), draw(shares)
    longer = draw(st.integers(1, 3))
    ours = schedules.CosineDecayRestarts(top, length, longer, 1.0, end)

    def make(o: Any) -> Any:
        return lr_scheduler.CosineAnnealingWarmRestarts(o, length, longer, end * top)

    return ours, make, top, 100


def one_cycle(draw: Draw) -> Pair:
    top, length = draw(tops), draw(st.integers(10, 200))
    share = draw(st.sampled_from([0.2, 0.3, 0.5]))
    start, end = draw(st.sampled_from([10.0, 25.0])), draw(st.sampled_from([100.0, 1e4]))
    ours = schedules.OneCycle(top, length, share, start, end)

    def make(o: Any) -> Any:
        return lr_scheduler.OneCycleLR(
            o,
            top,
            total_steps=length,
            pct_start=share,
            cycle_momentum=False,
            div_factor=start,
            final_div_factor=end,
        )

    return ours, make, top, length


PAIRS: dict[str, Callable[[Draw], Pair]] = {
    "Constant": constant,
    "ExponentialDecay, staircase": step,
    "ExponentialDecay": exponential,
    "InverseTimeDecay": inverse_time,
    "PolynomialDecay": polynomial,
    "PolynomialDecay, linear": linear,
    "PiecewiseConstantDecay": piecewise,
    "CosineDecay": cosine,
    "CosineDecay, warm-up": cosine_after_warmup,
    "CosineDecayRestarts": restarts,
    "OneCycle": one_cycle,
}
APART = {"ReduceOnPlateau", "Warmup"}  # with tests of their own


def pairs(name: str) -> st.SearchStrategy[Pair]:
    return st.composite(PAIRS[name])()


def torch_rates(make: Callable[[Any], Any], top: float, steps: int) -> list[float]:
    """The learning rates of a PyTorch schedule."""
    optimizer = torch.optim.SGD([torch.zeros(1)], top)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


def assert_same(ours: Schedule, make: Callable[[Any], Any], top: float, steps: int) -> None:
    expected = torch_rates(make, top, steps)
    found = [ours(step) for step in range(steps)]
    # PyTorch's rates are products of all steps before, so their errors are those of the highest
    assert found == pytest.approx(expected, rel=0, abs=1e-9 * min(top, 1.0))


def test_every_schedule_has_a_twin() -> None:
    kinds = {name for name in schedules.__all__ if isinstance(getattr(schedules, name), type)}
    protocols = {"ObservingSchedule", "Schedule"}
    assert {name.split(",")[0] for name in PAIRS} | APART | protocols == kinds


@pytest.mark.parametrize("name", PAIRS)
def test_schedule(name: str, count: Callable[[int, str], None]) -> None:
    compared = 0

    @given(pairs(name))
    def property(pair: Pair) -> None:
        nonlocal compared
        assert_same(*pair)
        compared += 1

    property()
    count(compared, "schedules compared with PyTorch")


# schedules whose form in PyTorch can come second in a SequentialLR, by the number of its own steps
SECOND = [name for name in PAIRS if name not in ("CosineDecay, warm-up", "OneCycle")]


@pytest.mark.parametrize("name", SECOND)
def test_warmup(name: str, count: Callable[[int, str], None]) -> None:
    """Ours has its first step above `start`, and the schedule's first rate one step early."""
    compared = 0

    @given(pairs(name), st.integers(2, 20), st.sampled_from([0.0, 0.2]))
    def property(pair: Pair, warmup: int, share: float) -> None:
        nonlocal compared
        ours, make, top, steps = pair

        def both(o: Any) -> Any:
            start = share + (1 - share) / warmup
            up = lr_scheduler.LinearLR(o, start, 1.0, warmup - 1)
            return lr_scheduler.SequentialLR(o, [up, make(o)], [warmup])

        warmed = schedules.Warmup(ours, warmup, share * top)
        assert_same(warmed, both, top, warmup + steps)
        compared += 1

    property()
    count(compared, "schedules compared with PyTorch")


def test_reduce_on_plateau(count: Callable[[int, str], None]) -> None:
    """PyTorch counts otherwise: its patience p is p + 1 here, and so is its cooldown if any."""
    compared = 0
    values = st.lists(st.sampled_from([1.0, 0.99, 0.9, 0.8, 0.5, 1.2]), min_size=1, max_size=60)

    @given(
        values,
        st.integers(0, 4),
        st.integers(0, 3),
        st.sampled_from(["min", "max"]),
        st.sampled_from([0.0, 0.05]),
        st.sampled_from([0.0, 0.02]),
    )
    def property(
        values: list[float], patience: int, cooldown: int, mode: str, delta: float, least: float
    ) -> None:
        nonlocal compared
        optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
        theirs = lr_scheduler.ReduceLROnPlateau(
            optimizer, mode, 0.5, patience, delta, "abs", cooldown, least, eps=0
        )
        ours = schedules.ReduceOnPlateau(
            0.1, 0.5, patience + 1, mode, delta, cooldown + 1 if cooldown else 0, least
        )
        for value in values:
            theirs.step(value)
            ours.observe(value)
            assert ours(0) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        compared += 1

    property()
    count(compared, "schedules compared with PyTorch")
