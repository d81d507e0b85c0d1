"""The schedule that goes by what training tells it."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import CheckpointError
from cpcnn.schedules import Constant, ReduceOnPlateau, Schedule, Warmup


def after(schedule: ReduceOnPlateau | Warmup, values: list[float]) -> list[float]:
    """The rates after each of some epochs."""
    found = []
    for value in values:
        schedule.observe(value)
        found.append(schedule(100))
    return found


def test_the_rate_falls_after_epochs_that_brought_nothing_better() -> None:
    schedule = ReduceOnPlateau(1.0, factor=0.5, patience=2)
    assert schedule(0) == schedule(99) == 1
    values = [3.0, 2.0, 2.0, 2.5, 1.9, 2.0, 1.8, 1.9, 1.9, 1.9, 1.9]
    assert after(schedule, values) == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


@pytest.mark.parametrize(("mode", "sign"), [("min", 1), ("max", -1)])
def test_better_is_by_more_than_min_delta(mode: str, sign: int) -> None:
    schedule = ReduceOnPlateau(1.0, 0.5, patience=1, mode=mode, min_delta=0.25)
    values = [sign * value for value in (4.0, 3.5, 3.25, 3.0, 2.75)]
    assert after(schedule, values) == [1, 1, 0.5, 0.5, 0.25]


def test_counting_rests_while_it_cools_down() -> None:
    rates = after(ReduceOnPlateau(1.0, 0.5, patience=1, cooldown=3), [1.0] * 9)
    assert rates == [1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125, 0.125]
    assert after(ReduceOnPlateau(1.0, 0.5, patience=1), [1.0] * 4) == [1, 0.5, 0.25, 0.125]


def test_the_rate_stays_at_its_least() -> None:
    assert after(ReduceOnPlateau(1.0, 0.5, 1, min_lr=0.3), [1.0] * 4) == [1, 0.5, 0.3, 0.3]
    assert after(ReduceOnPlateau(0.2, 0.5, 1, min_lr=0.3), [1.0] * 3) == [0.2] * 3


def test_what_is_no_number_is_no_better() -> None:
    assert after(ReduceOnPlateau(1.0, 0.5, 1), [math.nan, 2.0, math.nan]) == [0.5, 0.5, 0.25]


@given(st.lists(st.floats(0, 2), max_size=30), st.integers(0, 30), st.sampled_from(["min", "max"]))
def test_a_schedule_goes_on_from_its_state(values: list[float], cut: int, mode: str) -> None:
    whole = Warmup(ReduceOnPlateau(1.0, 0.7, 2, mode, 0.1, cooldown=2), 5)
    parts = [Warmup(ReduceOnPlateau(1.0, 0.7, 2, mode, 0.1, cooldown=2), 5) for _ in range(2)]
    expected = after(whole, values)
    found = after(parts[0], values[:cut])
    parts[1].set_state(json.loads(json.dumps(parts[0].get_state(), allow_nan=False)))
    assert found + after(parts[1], values[cut:]) == expected


@pytest.mark.parametrize("change", [{"rate": None}, {"best": "x"}, {"wait": []}])
def test_a_state_that_is_none(change: dict[str, object]) -> None:
    schedule = ReduceOnPlateau(1.0)
    with pytest.raises(CheckpointError, match="ReduceOnPlateau"):
        schedule.set_state(schedule.get_state() | change)
    with pytest.raises(CheckpointError, match="resting"):
        schedule.set_state({"rate": 1.0, "best": None, "wait": 0})
    assert schedule == ReduceOnPlateau(1.0)


def test_a_warm_up_tells_the_schedule_behind_it() -> None:
    inner = ReduceOnPlateau(1.0, 0.5, patience=1)
    warm = Warmup(inner, 4)
    warm.observe(1.0)
    warm.observe(1.0)
    assert inner(0) == 0.5
    assert [warm(step) for step in (0, 3, 4)] == [0.125, 0.5, 0.5]
    silent: Schedule = Warmup(Constant(0.1), 2)
    assert isinstance(silent, Warmup)
    silent.observe(3.0)
    assert silent.get_state() == {}
    silent.set_state({})
    assert silent(9) == 0.1
