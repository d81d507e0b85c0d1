"""Learning rates over the steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.schedules import SCHEDULES, Constant, Cosine, OneCycle, get_schedule


def test_constant() -> None:
    assert [Constant(0.1)(step) for step in (0, 7, 10**6)] == [0.1] * 3


def test_cosine_against_its_formula() -> None:
    schedule = Cosine(0.4, 101, final=0.1)
    steps = np.arange(101)
    expected = 0.1 + 0.3 * (1 + np.cos(np.pi * steps / 100)) / 2
    np.testing.assert_allclose([schedule(int(step)) for step in steps], expected, rtol=1e-12)
    assert schedule(0) == 0.4
    assert schedule(50) == pytest.approx(0.25)
    assert schedule(100) == pytest.approx(0.1)


def test_the_warm_up_is_linear_and_ends_at_the_peak() -> None:
    schedule = Cosine(1.0, 50, warmup_steps=10)
    assert [schedule(step) for step in range(10)] == pytest.approx([k / 10 for k in range(1, 11)])
    rest = [schedule(step) for step in range(10, 50)]
    assert rest[0] == 1.0
    assert rest == sorted(rest, reverse=True)
    assert rest[-1] == pytest.approx(0, abs=1e-12)


def test_one_cycle_goes_up_for_thirty_percent_and_down_again() -> None:
    schedule = OneCycle(1.0, 100)
    rates = [schedule(step) for step in range(100)]
    top = rates.index(max(rates))
    assert top == 29
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[top] == pytest.approx(1)
    assert rates[-1] == pytest.approx(1 / 250_000)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    halfway = 1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * 10 / 29)) / 2
    assert rates[10] == pytest.approx(halfway)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("total", [0, 1, 2, 3, 10])
def test_rates_are_sensible_for_any_number_of_steps(name: str, total: int) -> None:
    schedule = get_schedule(name, 0.2, total, warmup_steps=min(total, 2))
    for step in range(total + 3):  # also past the end
        assert 0 <= schedule(step) <= 0.2 + 1e-12


def test_schedules_by_name() -> None:
    assert get_schedule("constant", 0.1, 5) == Constant(0.1)
    assert get_schedule("cosine", 0.1, 5, warmup_steps=2) == Cosine(0.1, 5, 2)
    assert get_schedule("one-cycle", 0.1, 5) == OneCycle(0.1, 5)
    with pytest.raises(UsageError, match=r"'linear'.*constant, cosine, one-cycle"):
        get_schedule("linear", 0.1, 5)
