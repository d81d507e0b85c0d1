"""Gradient accumulation: several batches for one update."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cpcnn.core.context import Policy
from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader
from cpcnn.layers import Conv2D, Dense, Flatten, MaxPooling2D, Stack
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.optimizers import SGD, Adam, Optimizer
from cpcnn.training import Network, StepEnded, Trainer

SHAPE = (6, 6, 1)


def trained(
    optimizer: Optimizer, images: int, batch_size: int, device: str, schedule: Any = None
) -> tuple[dict[str, Any], list[StepEnded]]:
    """Train in float64 for two epochs, without batch normalisation and dropout."""
    layers = [Conv2D(3, 3, activation="tanh"), MaxPooling2D(), Flatten()]
    network = Network(Stack([*layers, Dense(3, activation="softmax")]), SHAPE)
    network.policy = Policy("float64", "float64")
    network.build(device=device)
    x = Philox(0, "images").normal((images, *SHAPE))
    loader = Loader(ArrayDataset(x, np.arange(images) % 3), batch_size, shuffle=True)
    schedule = schedule or optimizer.schedule
    loss = CategoricalCrossentropy()
    events = list(Trainer(network, loader, None, optimizer, schedule, loss, 2).run())
    return network.store.get_weights(), [e for e in events if isinstance(e, StepEnded)]


@given(
    size=st.integers(1, 4),
    group=st.integers(1, 5),
    groups=st.integers(1, 3),
    rest=st.integers(0, 4),
    kind=st.sampled_from([SGD, Adam]),
    device=st.sampled_from(["numpy", "cpu"]),
    clip=st.sampled_from([None, 0.1]),
)
@example(size=2, group=3, groups=2, rest=2, kind=SGD, device="numpy", clip=0.1)
def test_small_batches_make_a_large_one(
    size: int, group: int, groups: int, rest: int, kind: Any, device: str, clip: float | None
) -> None:
    """The end of an epoch updates with the batches that are left."""
    images = size * (group * groups + rest % group)
    options = {"learning_rate": 0.05, "global_clipnorm": clip}
    apart = kind(gradient_accumulation_steps=group, **options)
    found, _ = trained(apart, images, size, device)
    together = kind(**options)
    expected, _ = trained(together, images, size * group, device)
    assert apart.step == together.step
    for path, value in expected.items():
        np.testing.assert_allclose(found[path], value, atol=1e-11, err_msg=path)


def test_the_schedule_counts_updates() -> None:
    optimizer = SGD(0.1, gradient_accumulation_steps=3)
    _, steps = trained(optimizer, 28, 4, "numpy", schedule=lambda step: 0.1 + step)
    assert [round(step.learning_rate - 0.1) for step in steps] == [
        0, 0, 0, 1, 1, 1, 2, 3, 3, 3, 4, 4, 4, 5,
    ]  # fmt: skip
    assert optimizer.step == 6


@pytest.mark.parametrize("group", [None, 1, 3])
def test_every_batch_has_random_numbers_of_its_own(
    monkeypatch: pytest.MonkeyPatch, group: int | None
) -> None:
    """Without accumulation they are those of the number of the update."""
    context: Callable[..., Any] = Network.context
    seen = []

    def watch(network: Network, **options: Any) -> Any:
        if options.get("training"):
            seen.append(options["rng"].normal((2,)).tolist())
        return context(network, **options)

    monkeypatch.setattr(Network, "context", watch)
    trained(SGD(0.1, gradient_accumulation_steps=group), 28, 4, "numpy")
    assert len({tuple(numbers) for numbers in seen}) == 14
    if group != 3:
        assert seen == [Philox(0, "dropout", step).normal((2,)).tolist() for step in range(14)]
