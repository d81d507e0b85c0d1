"""Gradients that are limited, and those that several batches have given."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.param import ParamStore
from cpcnn.optimizers import SGD, Adam, AdamW, Lamb, Nadam, Optimizer, RMSprop

Make = Callable[[], ParamStore]
Draw = Callable[[ParamStore, int], dict[str, Any]]

KINDS: list[Callable[..., Optimizer]] = [
    lambda **options: SGD(momentum=0.9, weight_decay=0.1, **options),
    Adam,
    AdamW,
    Nadam,
    lambda **options: RMSprop(momentum=0.5, **options),
    lambda **options: Lamb(weight_decay=0.1, **options),
]
kinds = pytest.mark.parametrize("kind", KINDS)


def step(
    store: ParamStore, optimizer: Optimizer, gradients: dict[str, Any], batches: int = 1
) -> None:
    for path, value in gradients.items():
        store.params[path].grad[...] = value  # type: ignore[index]
    with store.device.scope():
        optimizer.update(Context(store.device), store, 0.1, batches)


def assert_same(found: ParamStore, expected: ParamStore) -> None:
    for path, value in expected.get_weights().items():
        np.testing.assert_allclose(found.get_weights()[path], value, rtol=1e-9, atol=1e-12)


def shortened(gradient: Any, norm: float) -> Any:
    return gradient * min(1.0, norm / np.sqrt((gradient**2).sum()))


def by_hand(option: str | None, limit: float, gradients: dict[str, Any]) -> dict[str, Any]:
    """What a limit makes of gradients."""
    if option == "clipvalue":
        return {path: np.minimum(np.maximum(g, -limit), limit) for path, g in gradients.items()}
    if option == "clipnorm":
        return {path: shortened(g, limit) for path, g in gradients.items()}
    if option == "global_clipnorm":
        norm = np.sqrt(sum((g**2).sum() for g in gradients.values()))
        return {path: g * min(1.0, limit / norm) for path, g in gradients.items()}
    return gradients


@kinds
@pytest.mark.parametrize("option", [None, "clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("batches", [1, 3])
def test_the_mean_of_the_batches_is_limited(
    make_store: Make,
    gradients: Draw,
    kind: Callable[..., Optimizer],
    option: str | None,
    batches: int,
) -> None:
    """Against an optimizer that is given the limited mean, as one batch's gradient."""
    limit = {None: 0.0, "clipvalue": 0.8, "clipnorm": 2.0, "global_clipnorm": 1.5}[option]
    store, plain_store = make_store(), make_store()
    optimizer, plain = kind(**{option: limit} if option else {}), kind()
    optimizer.prepare(store)
    plain.prepare(plain_store)
    changed = 0
    for number in range(4):
        mean = gradients(store, number)
        step(store, optimizer, {path: g * batches for path, g in mean.items()}, batches)
        limited = by_hand(option, limit, mean)
        changed += sum(not np.array_equal(limited[path], mean[path]) for path in mean)
        step(plain_store, plain, limited)
    assert (changed > 0) == (option is not None)
    assert optimizer.step == 4
    assert_same(store, plain_store)


@kinds
def test_one_batch_is_the_update_without_a_word_about_it(
    make_store: Make, gradients: Draw, kind: Callable[..., Optimizer]
) -> None:
    store, other = make_store(), make_store()
    optimizer, plain = kind(gradient_accumulation_steps=1), kind()
    for at, by in ((store, optimizer), (other, plain)):
        by.prepare(at)
        step(at, by, gradients(at, 0))
    assert np.array_equal(store.values, other.values)


def test_gradients_are_left_as_they_are(make_store: Make, gradients: Draw) -> None:
    for options in ({"clipnorm": 0.1}, {"global_clipnorm": 0.1}, {}):
        store = make_store()
        optimizer = SGD(**options)
        optimizer.prepare(store)
        given = gradients(store, 0)
        step(store, optimizer, given, batches=2)
        for path, value in given.items():
            assert np.array_equal(store.params[path].grad, value)


@kinds
@pytest.mark.parametrize("norm", [1.0, math.inf])
@pytest.mark.parametrize("batches", [1, 2])
def test_with_a_norm_each_a_parameter_whose_gradient_is_no_number_is_left_out(
    make_store: Make, gradients: Draw, kind: Callable[..., Optimizer], norm: float, batches: int
) -> None:
    store, other = make_store(), make_store()
    optimizer, plain = kind(clipnorm=norm), kind(clipnorm=norm)
    optimizer.prepare(store)
    plain.prepare(other)
    before = store.get_weights()
    given = gradients(store, 0)
    step(other, plain, given, batches)
    given["dense.kernel"][0, 0] = np.nan
    step(store, optimizer, given, batches)
    after, without = store.get_weights(), other.get_weights()
    assert np.array_equal(after["dense.kernel"], before["dense.kernel"])
    for path in set(given) - {"dense.kernel"}:
        assert np.array_equal(after[path], without[path])
        assert not np.array_equal(after[path], before[path])
