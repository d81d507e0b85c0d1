"""The moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpcnn.core.context import Context
from cpcnn.core.errors import CheckpointError
from cpcnn.core.param import ParamStore
from cpcnn.optimizers import SGD, AdamW, Lamb, Optimizer

Make = Callable[[], ParamStore]
Draw = Callable[[ParamStore, int], dict[str, Any]]


@pytest.fixture
def train(gradients: Draw) -> Callable[..., list[dict[str, Any]]]:
    """Return a function that takes steps and returns the weights after each."""

    def run(store: ParamStore, optimizer: Optimizer, first: int, last: int) -> list[dict[str, Any]]:
        after = []
        for number in range(first, last):
            for path, value in gradients(store, number).items():
                store.params[path].grad[...] = value  # type: ignore[index]
            optimizer.update(Context(store.device), store, 0.1)
            after.append(store.get_weights())
        return after

    return run


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(np.array_equal(value, expected[path]) for path, value in found.items())


def expected_average(after: list[dict[str, Any]], path: str, keep: float) -> Any:
    average = after[0][path]
    for weights in after[1:]:
        average = keep * average + (1 - keep) * weights[path]
    return average


@pytest.mark.parametrize("kind", [SGD, AdamW, Lamb])
@pytest.mark.parametrize("keep", [0.0, 0.9, 1.0])
def test_the_average_of_the_weights_after_each_step(
    make_store: Make, train: Any, kind: type[Optimizer], keep: float
) -> None:
    store = make_store()
    optimizer = kind(use_ema=True, ema_momentum=keep)
    optimizer.prepare(store)
    after = train(store, optimizer, 0, 6)
    with optimizer.averaged(store):
        inside = store.get_weights()
    assert same(store.get_weights(), after[-1])
    for path, param in store.params.items():
        wanted = expected_average(after, path, keep) if param.trainable else after[-1][path]
        np.testing.assert_allclose(inside[path], wanted, rtol=1e-12, atol=1e-15)
    optimizer.finish(store)
    assert same(store.get_weights(), inside)


def test_averaging_does_not_change_the_steps(make_store: Make, train: Any) -> None:
    store, other = make_store(), make_store()
    for at, optimizer in ((store, AdamW(use_ema=True)), (other, AdamW())):
        optimizer.prepare(at)
        train(at, optimizer, 0, 3)
        with optimizer.averaged(at):
            pass
        train(at, optimizer, 3, 5)
    assert np.array_equal(store.values, other.values)


def test_without_an_average_nothing_is_put_in_its_place(make_store: Make, train: Any) -> None:
    for optimizer, steps in ((SGD(), 3), (SGD(use_ema=True), 0)):
        store = make_store()
        optimizer.prepare(store)
        train(store, optimizer, 0, steps)
        before = store.get_weights()
        with optimizer.averaged(store):
            assert same(store.get_weights(), before)
        optimizer.finish(store)
        assert same(store.get_weights(), before)


def test_weights_come_back_after_an_error_and_statistics_stay(make_store: Make, train: Any) -> None:
    store = make_store()
    optimizer = SGD(use_ema=True)
    optimizer.prepare(store)
    before = train(store, optimizer, 0, 3)[-1]
    moved = "batch_normalization.moving_mean"
    assert not store.params[moved].trainable

    def fail() -> None:
        with optimizer.averaged(store):
            store.params[moved].value[...] = 7.0
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    for path, value in store.get_weights().items():
        assert np.array_equal(value, before[path]) != (path == moved)


def test_an_average_goes_on_from_a_state(make_store: Make, train: Any) -> None:
    whole, parts, later = make_store(), make_store(), make_store()
    optimizer = AdamW(use_ema=True, ema_momentum=0.8)
    optimizer.prepare(whole)
    train(whole, optimizer, 0, 6)

    first = AdamW(use_ema=True, ema_momentum=0.8)
    first.prepare(parts)
    train(parts, first, 0, 3)
    state = first.get_state(parts)
    assert {key.split("/")[0] for key in state} == {"first", "second", "average"}
    later.set_weights(parts.get_weights())
    second = AdamW(use_ema=True, ema_momentum=0.8)
    second.prepare(later)
    second.set_state(later, state, first.step)
    train(later, second, 3, 6)
    second.finish(later)
    optimizer.finish(whole)
    for path, value in later.get_weights().items():
        np.testing.assert_allclose(value, whole.get_weights()[path], rtol=1e-12)


def test_an_average_begins_when_the_state_has_none(make_store: Make, train: Any) -> None:
    store = make_store()
    plain = SGD()
    plain.prepare(store)
    train(store, plain, 0, 3)
    optimizer = SGD(use_ema=True, ema_momentum=0.9)
    optimizer.prepare(store)
    train(store, optimizer, 3, 4)  # an average that does not belong to the state
    optimizer.set_state(store, plain.get_state(store), 3)
    after = train(store, optimizer, 4, 6)
    optimizer.finish(store)
    np.testing.assert_allclose(
        store.get_weights()["dense.kernel"], expected_average(after, "dense.kernel", 0.9)
    )


def test_an_average_nobody_wants_is_not_taken(make_store: Make, train: Any) -> None:
    store = make_store()
    optimizer = SGD(use_ema=True)
    optimizer.prepare(store)
    train(store, optimizer, 0, 2)
    plain = SGD()
    plain.set_state(store, optimizer.get_state(store), 2)
    assert set(plain.buffers) == {"velocity"}


def test_an_average_that_does_not_fit(make_store: Make, train: Any) -> None:
    store = make_store()
    optimizer = SGD(use_ema=True)
    optimizer.prepare(store)
    train(store, optimizer, 0, 2)
    state = optimizer.get_state(store)
    del state["average/dense.bias"]
    with pytest.raises(CheckpointError, match=r"'average'.*dense\.bias"):
        optimizer.set_state(store, state, 9)
    assert optimizer.step == 2
