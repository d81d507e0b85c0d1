"""Learning rates over the steps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.optimizers import schedules as as_in_keras
from cpcnn.schedules import (
    SCHEDULES,
    Constant,
    CosineDecay,
    CosineDecayRestarts,
    ExponentialDecay,
    InverseTimeDecay,
    OneCycle,
    PiecewiseConstantDecay,
    PolynomialDecay,
    ReduceOnPlateau,
    Schedule,
    Warmup,
    get_schedule,
)

steps = st.integers(0, 3000)
lengths = st.integers(1, 1000) | st.floats(0.5, 1000)
rates = st.floats(0, 10)


def test_constant() -> None:
    assert [Constant(0.1)(step) for step in (0, 7, 10**6)] == [0.1] * 3


# --- a power, a factor, a table ---------------------------------------------------------------


@given(steps, lengths, rates, st.floats(0.1, 1), st.booleans())
def test_exponential_decay_is_its_formula(
    step: int, length: float, rate: float, factor: float, staircase: bool
) -> None:
    periods = step // length if staircase else step / length
    expected = rate * math.exp(periods * math.log(factor))
    found = ExponentialDecay(rate, length, factor, staircase)(step)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_a_staircase_drops_at_once() -> None:
    schedule = ExponentialDecay(1.0, decay_steps=3, decay_rate=0.5, staircase=True)
    assert [schedule(step) for step in range(8)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


@given(steps, lengths, rates, st.floats(0, 5), st.booleans())
def test_inverse_time_decay_is_its_formula(
    step: int, length: float, rate: float, factor: float, staircase: bool
) -> None:
    periods = step // length if staircase else step / length
    found = InverseTimeDecay(rate, length, factor, staircase)(step)
    assert found * (1 + factor * periods) == pytest.approx(rate, rel=1e-12)


@given(steps, lengths, rates, rates, st.floats(0.1, 4))
def test_polynomial_decay_is_its_formula(
    step: int, length: float, rate: float, end: float, power: float
) -> None:
    found = PolynomialDecay(rate, length, end, power)(step)
    if step >= length:
        assert found == end
    else:
        share = ((length - step) / length) ** power
        assert found == pytest.approx(share * rate + (1 - share) * end, rel=1e-9, abs=1e-12)


def test_a_cycle_puts_the_end_off() -> None:
    schedule = PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.0, cycle=True)
    assert [schedule(step) for step in (0, 5, 10)] == pytest.approx([1, 0.5, 0])
    assert [schedule(step) for step in (11, 15, 20)] == pytest.approx([9 / 20, 5 / 20, 0])
    assert schedule(21) == pytest.approx(9 / 30)


def test_a_boundary_belongs_to_what_is_before_it() -> None:
    schedule = PiecewiseConstantDecay([2, 4], [1.0, 0.5, 0.1])
    assert [schedule(step) for step in range(6)] == [1.0, 1.0, 1.0, 0.5, 0.5, 0.1]
    assert PiecewiseConstantDecay((), (0.3,))(9) == 0.3


# --- cosines ----------------------------------------------------------------------------------


@given(steps, lengths, rates, st.floats(0, 1))
def test_cosine_decay_is_its_formula(step: int, length: float, rate: float, alpha: float) -> None:
    found = CosineDecay(rate, length, alpha)(step)
    share = math.cos(math.pi / 2 * min(step / length, 1)) ** 2
    assert found == pytest.approx(rate * (alpha + (1 - alpha) * share), rel=1e-9, abs=1e-12)


def test_a_cosine_goes_on_from_its_warm_up() -> None:
    schedule = CosineDecay(0.1, decay_steps=20, alpha=0.5, warmup_target=0.5, warmup_steps=4)
    assert [schedule(step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    rest = CosineDecay(0.5, 20, 0.5)
    assert [schedule(step) for step in range(4, 30)] == [rest(step) for step in range(26)]
    assert CosineDecay(0.1, 20, warmup_steps=4)(2) == CosineDecay(0.1, 20)(2)  # as in Keras


@given(
    st.integers(0, 400),
    st.integers(1, 30),
    st.sampled_from([1.0, 1.5, 2.0, 3.0]),
    st.sampled_from([1.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.1]),
)
def test_restarts_are_cosines_one_after_the_other(
    step: int, first: int, t_mul: float, m_mul: float, alpha: float
) -> None:
    start, length, height = 0.0, float(first), 1.0
    while start + length <= step:
        start += length
        length *= t_mul
        height *= m_mul
    share = math.cos(math.pi / 2 * (step - start) / length) ** 2
    found = CosineDecayRestarts(0.2, first, t_mul, m_mul, alpha)(step)
    assert found == pytest.approx(0.2 * (alpha + (1 - alpha) * height * share), abs=1e-9)


def test_a_restart_is_at_the_top_again() -> None:
    schedule = CosineDecayRestarts(1.0, 3, t_mul=3.0, m_mul=0.5)
    assert [schedule(step) for step in (0, 3, 12, 39, 120)] == [1, 0.5, 0.25, 0.125, 0.0625]


def test_one_cycle_goes_up_for_thirty_percent_and_down_again() -> None:
    schedule = OneCycle(1.0, 100)
    found = [schedule(step) for step in range(100)]
    top = found.index(max(found))
    assert top == 29
    assert found[0] == pytest.approx(1 / 25)
    assert found[top] == pytest.approx(1)
    assert found[-1] == pytest.approx(1 / 250_000)
    assert found[: top + 1] == sorted(found[: top + 1])
    assert found[top:] == sorted(found[top:], reverse=True)
    halfway = 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * 10 / 29)) / 2
    assert found[10] == pytest.approx(halfway)


# --- warm-up ----------------------------------------------------------------------------------

ANY: list[Schedule] = [
    Constant(0.3),
    ExponentialDecay(0.5, 10, 0.7),
    InverseTimeDecay(0.5, 10, 0.7),
    PolynomialDecay(0.5, 10),
    PiecewiseConstantDecay([3], [0.5, 0.1]),
    CosineDecay(0.5, 10),
    CosineDecayRestarts(0.5, 4),
    OneCycle(0.5, 20),
    ReduceOnPlateau(0.5),
]


@pytest.mark.parametrize("schedule", ANY)
@pytest.mark.parametrize("start", [0.0, 0.05])
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_warm_up_goes_straight_to_where_any_schedule_begins(
    schedule: Schedule, start: float, count: int
) -> None:
    warm = Warmup(schedule, count, start)
    assert [warm(count + step) for step in range(30)] == [schedule(step) for step in range(30)]
    found = [start, *(warm(step) for step in range(count))]
    np.testing.assert_allclose(np.diff(found), (schedule(0) - start) / max(count, 1), rtol=1e-12)


# --- by name ----------------------------------------------------------------------------------


def test_a_schedule_by_name_reaches_its_end_at_the_last_step() -> None:
    found = {name: get_schedule(name, 0.2, 90)(89) for name in SCHEDULES}
    assert found.pop("cosine-restarts") == pytest.approx(0.2 * math.sin(math.pi * 7 / 720) ** 2)
    assert found == pytest.approx(
        {
            "constant": 0.2,
            "cosine": 0.0,
            "one-cycle": 0.2 / 250_000,
            "step": 0.2 * 0.01,
            "exponential": 0.2 * 0.01,
            "polynomial": 0.0,
            "reduce-on-plateau": 0.2,
        },
        abs=1e-16,
    )
    falling = get_schedule("step", 1.0, 90)
    assert [falling(step) for step in (0, 29, 30, 59, 60, 89)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    restarts = get_schedule("cosine-restarts", 1.0, 70)
    assert [restarts(step) for step in (0, 10, 30)] == [1, 1, 1]


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_name_has_a_warm_up(name: str) -> None:
    schedule = get_schedule(name, 0.2, 50, warmup_steps=10)
    found = [schedule(step) for step in range(60)]
    assert found[9] == pytest.approx(0.2)
    assert found[:10] == sorted(found[:10])
    assert found[0] < 0.05
    if name != "one-cycle":
        assert found[:10] == pytest.approx([0.02 * k for k in range(1, 11)])
        rest = get_schedule(name, 0.2, 40)
        assert found[10:50] == [rest(step) for step in range(40)]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [0, 1, 2, 3, 10])
@pytest.mark.parametrize("warmup", [0, 1, 2, 20])
def test_rates_are_sensible_for_any_number_of_steps(name: str, total: int, warmup: int) -> None:
    schedule = get_schedule(name, 0.2, total, warmup_steps=warmup)
    for step in range(total + 25):  # also past the end
        assert 0 <= schedule(step) <= 0.2 + 1e-12


def test_schedules_by_name() -> None:
    assert get_schedule("constant", 0.1, 5) == Constant(0.1)
    assert get_schedule("cosine", 0.1, 5) == CosineDecay(0.1, 4)
    assert get_schedule("cosine", 0.1, 5, warmup_steps=2) == Warmup(CosineDecay(0.1, 2), 2)
    assert get_schedule("one-cycle", 0.1, 5) == OneCycle(0.1, 5)
    with pytest.raises(UsageError, match=r"'linear'.*constant, cosine, one-cycle, step"):
        get_schedule("linear", 0.1, 5)


def test_keras_finds_its_schedules_where_it_has_them() -> None:
    assert as_in_keras.CosineDecay is CosineDecay
    assert set(as_in_keras.__all__) == {
        type(schedule).__name__ for schedule in ANY if "Decay" in type(schedule).__name__
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ExponentialDecay(-0.1, 5, 0.5), ["ExponentialDecay", "initial_learning_rate"]),
        (lambda: ExponentialDecay(0.1, 0, 0.5), ["decay_steps", "0", "above 0"]),
        (lambda: ExponentialDecay(0.1, 5, 0), ["decay_rate", "0"]),
        (lambda: InverseTimeDecay(0.1, 5, -1), ["InverseTimeDecay", "decay_rate", "-1"]),
        (lambda: PolynomialDecay(0.1, 5, -1.0), ["end_learning_rate", "-1.0"]),
        (lambda: PolynomialDecay(0.1, 5, power=0), ["power", "0"]),
        (lambda: PiecewiseConstantDecay([1], [0.1]), ["1 boundaries", "2 values", "not 1"]),
        (lambda: PiecewiseConstantDecay([2, 1], [1, 1, 1]), ["boundaries", "ascend", "[2, 1]"]),
        (lambda: PiecewiseConstantDecay([1], [1, -1]), ["values", "[1, -1]"]),
        (lambda: CosineDecay(math.nan, 5), ["CosineDecay", "initial_learning_rate", "nan"]),
        (lambda: CosineDecay("0.1", 5), ["initial_learning_rate", "'0.1'"]),  # type: ignore[arg-type]
        (lambda: CosineDecay(0.1, 5, alpha=-1), ["alpha", "-1"]),
        (lambda: CosineDecay(0.1, 5, warmup_target=-1), ["warmup_target", "-1"]),
        (lambda: CosineDecay(0.1, 5, warmup_steps=-1), ["warmup_steps", "-1"]),
        (lambda: CosineDecayRestarts(0.1, 5, t_mul=0.5), ["t_mul", "0.5", "at least 1"]),
        (lambda: CosineDecayRestarts(0.1, 5, m_mul=-1), ["m_mul", "-1"]),
        (lambda: OneCycle(-1, 5), ["OneCycle", "peak", "-1"]),
        (lambda: OneCycle(1, 5, start_divisor=0), ["start_divisor", "0"]),
        (lambda: OneCycle(1, 2.5), ["OneCycle", "total_steps", "2.5"]),
        (lambda: Warmup(Constant(1), 1.5), ["Warmup", "steps", "1.5"]),  # type: ignore[arg-type]
        (lambda: Warmup(Constant(1), 5, -1), ["start", "-1"]),
        (lambda: ReduceOnPlateau(0.1, factor=1), ["ReduceOnPlateau", "factor", "1"]),
        (lambda: ReduceOnPlateau(0.1, patience=-1), ["patience", "-1"]),
        (lambda: ReduceOnPlateau(0.1, mode="auto"), ["mode", "'auto'", "'min' or 'max'"]),
        (lambda: ReduceOnPlateau(0.1, min_lr=-1), ["min_lr", "-1"]),
    ],
)
def test_options_that_cannot_be_meant(make: Any, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
