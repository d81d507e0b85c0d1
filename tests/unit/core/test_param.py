"""Parameters as views into flat buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import CheckpointError
from cpcnn.core.param import ALIGNMENT, Param, ParamStore
from cpcnn.devices import get_device
from cpcnn.layers.initializers import HeNormal, Ones, Zeros

NUMPY = get_device("numpy")
kinds = st.sampled_from(["kernel", "bias", "statistic"])
shapes = st.lists(st.integers(1, 7), max_size=4).map(tuple)


def param(kind: str, shape: tuple[int, ...]) -> Param:
    return Param(shape, Ones(), trainable=kind != "statistic", decay=kind == "kernel")


def small() -> dict[str, Param]:
    """One of each kind, in an order that the layout has to change."""
    return {
        "bn.moving_mean": param("statistic", (3,)),
        "conv.bias": param("bias", (5,)),
        "conv.kernel": Param((3, 3, 2, 5), HeNormal()),
        "bn.gamma": param("bias", (20,)),
    }


@given(st.lists(st.tuples(kinds, shapes), min_size=1, max_size=8))
def test_layout(specification: list[tuple[str, tuple[int, ...]]]) -> None:
    params = {f"p{k}": param(*spec) for k, spec in enumerate(specification)}
    store = ParamStore(params, NUMPY)
    covered = np.zeros(store.size, int)
    for path, each in store.params.items():
        start = store.offsets[path]
        assert start % ALIGNMENT == 0
        covered[start : start + each.size] += 1
        assert each.value.shape == each.shape
        assert np.shares_memory(each.value, store.values)
        if each.trainable:
            assert start + each.size <= store.trainable_size
            assert np.shares_memory(each.grad, store.grads)
        else:
            assert start >= store.trainable_size
            assert each.grad is None
    assert covered.max() <= 1
    assert store.size < sum(p.size for p in params.values()) + ALIGNMENT * len(params)
    for segment in store.segments:
        for path, each in store.params.items():
            if segment.start <= store.offsets[path] < segment.stop:
                assert each.decay == segment.decay
    assert [s.start for s in store.segments] == [0, *(s.stop for s in store.segments)][:-1]
    assert max((s.stop for s in store.segments), default=0) == store.trainable_size
    assert store.num_parameters == sum(p.size for p in params.values())
    assert store.num_trainable == sum(p.size for p in params.values() if p.trainable)


def test_values_and_gradients_are_views() -> None:
    store = ParamStore(small(), NUMPY)
    kernel = store.params["conv.kernel"]
    store.values[...] = 2
    assert (kernel.value == 2).all()
    kernel.value[...] = 3
    assert (store.values == 3).sum() == kernel.size
    kernel.accumulate(np.ones(kernel.shape, np.float32))
    kernel.accumulate(np.ones(kernel.shape, np.float32))
    kernel.accumulate(None)
    assert (store.grads == 2).sum() == kernel.size
    store.zero_grad()
    assert not store.grads.any()


def test_a_statistic_takes_no_gradient() -> None:
    store = ParamStore(small(), NUMPY)
    store.params["bn.moving_mean"].accumulate(np.ones(3, np.float32))
    assert not store.grads.any()


def test_decay_needs_training() -> None:
    assert not Param((2,), Zeros(), trainable=False, decay=True).decay


def test_every_parameter_starts_from_a_stream_of_its_own() -> None:
    names = [f"layer{k}.kernel" for k in range(3)]
    stores = [
        ParamStore({name: Param((4, 6), HeNormal()) for name in chosen}, NUMPY)
        for chosen in (names, names[1:])
    ]
    for store in stores:
        store.initialize(5)
    all_weights, some_weights = (store.get_weights() for store in stores)
    assert all(np.array_equal(all_weights[name], some_weights[name]) for name in names[1:])
    assert not np.array_equal(all_weights[names[0]], all_weights[names[1]])
    stores[0].initialize(6)
    assert not np.array_equal(stores[0].get_weights()[names[0]], all_weights[names[0]])


def test_weights_are_copies_keyed_by_path() -> None:
    store = ParamStore(small(), NUMPY)
    store.initialize(0)
    weights = store.get_weights()
    assert set(weights) == set(small())
    weights["conv.kernel"][...] = 7
    assert not (store.params["conv.kernel"].value == 7).any()
    store.set_weights(weights)
    assert (store.params["conv.kernel"].value == 7).all()
    weights["conv.kernel"][...] = 8
    assert (store.params["conv.kernel"].value == 7).all()


def test_weights_are_cast_to_the_dtype_of_the_store() -> None:
    store = ParamStore(small(), NUMPY, "float64")
    store.initialize(0)
    store.set_weights({path: w.astype(np.float16) for path, w in store.get_weights().items()})
    assert store.values.dtype == np.float64
    assert store.params["conv.bias"].value.dtype == np.float64


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"conv.bias": None}, ["1 missing", "conv.bias"]),
        ({"other.bias": np.zeros(5)}, ["1 unknown", "other.bias"]),
        ({f"other.{k}": np.zeros(5) for k in range(9)}, ["9 unknown", "…"]),
        ({"conv.bias": np.zeros(6)}, ["conv.bias", "(6,)", "(5,)"]),
        ({"conv.bias": np.zeros((5, 1))}, ["conv.bias", "(5, 1)", "(5,)"]),
        ({"conv.bias": np.zeros(5, complex)}, ["conv.bias", "complex128"]),
        ({"conv.bias": np.array(["a"] * 5)}, ["conv.bias", "not real numbers"]),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Any], words: list[str]) -> None:
    store = ParamStore(small(), NUMPY)
    store.initialize(0)
    before = store.values.copy()
    weights = {**store.get_weights(), **change}
    with pytest.raises(CheckpointError) as caught:
        store.set_weights({path: value for path, value in weights.items() if value is not None})
    for word in words:
        assert word in str(caught.value)
    assert np.array_equal(store.values, before)


def test_moving_to_another_device_and_back() -> None:
    store = ParamStore(small(), NUMPY)
    store.initialize(3)
    weights = store.get_weights()
    store.grads[...] = 1
    cpu = get_device("cpu", threads=1)
    store.to(cpu)
    assert store.device is cpu
    assert not store.grads.any()
    kernel = store.params["conv.kernel"]
    assert np.shares_memory(kernel.value, store.values)
    store.to(NUMPY)
    for path, value in store.get_weights().items():
        assert np.array_equal(value, weights[path])


def test_flatten_and_unflatten() -> None:
    store = ParamStore(small(), NUMPY)
    flat = np.arange(store.trainable_size, dtype=np.float32)
    arrays = store.unflatten(flat)
    assert set(arrays) == {"conv.kernel", "conv.bias", "bn.gamma"}
    again = store.flatten(arrays)
    for path, array in store.unflatten(again).items():
        assert np.array_equal(array, arrays[path])
    with pytest.raises(KeyError):
        store.flatten({"conv.kernel": arrays["conv.kernel"]})
    with pytest.raises(ValueError, match=r"conv\.bias"):
        store.flatten(arrays | {"conv.bias": np.zeros(1)})


def test_a_store_knows_when_a_later_one_took_its_parameters() -> None:
    params = small()
    first = ParamStore(params, NUMPY)
    assert first.owns_params()
    second = ParamStore({"shared": params["conv.kernel"]}, NUMPY)
    assert second.owns_params()
    assert not first.owns_params()


def test_a_store_without_parameters() -> None:
    store = ParamStore({}, NUMPY)
    store.initialize(0)
    store.zero_grad()
    assert (store.size, store.trainable_size, store.segments) == (0, 0, [])
    assert store.get_weights() == {}


def test_a_parameter_describes_itself() -> None:
    assert repr(Param((3, 2), Zeros())) == "Param(shape=(3, 2), trainable=True)"
