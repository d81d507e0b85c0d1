"""Schedules against PyTorch."""

from __future__ import annotations

import pytest

from cpcnn.schedules import Cosine, OneCycle

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.oracle


def rates(make: object, steps: int) -> list[float]:
    """The learning rates of a PyTorch schedule that starts from 0.1."""
    optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
    schedule = make(optimizer)  # type: ignore[operator]
    found = []
    for _ in range(steps):
        found.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return found


@pytest.mark.parametrize("steps", [10, 200])
def test_one_cycle(steps: int) -> None:
    expected = rates(
        lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(
            optimizer, 0.1, total_steps=steps + 1, cycle_momentum=False
        ),
        steps,
    )
    ours = OneCycle(0.1, steps + 1)
    assert [ours(step) for step in range(steps)] == pytest.approx(expected, rel=1e-9)


def test_cosine() -> None:
    expected = rates(
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100), 100
    )
    ours = Cosine(0.1, 101)
    assert [ours(step) for step in range(100)] == pytest.approx(expected, rel=1e-9)
