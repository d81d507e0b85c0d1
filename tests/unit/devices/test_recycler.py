"""Memory that is used again: by arrays of any size, when nobody has it any more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.devices.cpu import recycler as recycler_module
from cpcnn.devices.cpu.recycler import PAGE, SMALL, Recycler

NUMBERS = SMALL // 4  # float32 of the smallest array whose memory is kept


def address(array: Any) -> int:
    return int(array.ctypes.data)


def test_memory_is_used_again_when_nobody_has_it() -> None:
    recycler = Recycler()
    first = recycler.empty((NUMBERS,), np.float32)
    second = recycler.empty((NUMBERS,), np.float32)
    places = {address(first), address(second)}
    assert len(places) == 2
    del first, second
    kept = [recycler.empty((NUMBERS // 2, 2), np.float32), recycler.empty((NUMBERS,), np.int32)]
    assert {address(array) for array in kept} == places


@pytest.mark.parametrize("part", [lambda x: x[3:5], lambda x: x.T, lambda x: x.view(np.uint8)[7:]])
def test_a_view_keeps_its_memory(part: Any) -> None:
    recycler = Recycler()
    view = part(recycler.empty((NUMBERS,), np.float32))
    view[...] = 1
    recycler.empty((NUMBERS,), np.float32)[...] = 2
    assert (view == 1).all()


def test_arrays_of_other_sizes_use_it_too() -> None:
    recycler = Recycler()
    first, second, third = (recycler.empty((2 * NUMBERS,), np.float32) for _ in range(3))
    at, at_end = address(first), address(third)
    del first, second
    joined = recycler.empty((3 * NUMBERS,), np.float32)
    rest = recycler.empty((NUMBERS,), np.float32)
    assert (address(joined), address(rest)) == (at, at + 3 * SMALL)
    del third, joined, rest
    everything = recycler.empty((6 * NUMBERS,), np.float32)
    assert (address(everything), at_end) == (at, at + 4 * SMALL)


def test_gradients_fit_where_activations_were() -> None:
    recycler = Recycler()
    sizes = [9, 8, 8, 6, 4, 4, 2, 1]  # as images shrink
    activations = [recycler.empty((size * NUMBERS,), np.float32) for size in sizes]
    begin, end = address(activations[0]), address(activations[-1]) + SMALL
    gradient = recycler.empty((NUMBERS,), np.float32)
    for size in reversed(sizes):
        activations.pop()
        gradient = recycler.empty((size * NUMBERS,), np.float32)
        # the one before is needed until this one is made
        assert begin <= address(gradient) <= end + 2 * SMALL


def test_more_than_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycler_module, "REGION", 3 * SMALL)
    recycler = Recycler()
    arrays = [recycler.empty((count * NUMBERS,), np.float32) for count in (2, 2, 5, 1)]
    for number, array in enumerate(arrays):
        array[...] = number
    assert [array.mean() for array in arrays] == [0, 1, 2, 3]


def test_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycler_module, "REGION", 1 << 62)
    recycler = Recycler()
    recycler.empty((NUMBERS,), np.float32)[...] = 1  # no more is asked for than is needed
    with pytest.raises(MemoryError):
        recycler.empty((1 << 60,), np.float32)


def test_memory_can_be_given_back() -> None:
    recycler = Recycler()
    held, other = recycler.empty((NUMBERS,), np.float32), recycler.empty((NUMBERS,), np.float32)
    held[...] = other[...] = 1
    del other
    recycler.release()
    assert (held == 1).all()
    assert (recycler.empty((NUMBERS,), np.float32) == 0).all()  # fresh from the system
    assert recycler.reached == 2 * SMALL


@given(st.lists(st.tuples(st.integers(0, 4 * NUMBERS), st.integers(0, 5)), max_size=30))
def test_no_two_arrays_share_memory(requests: list[tuple[int, int]]) -> None:
    recycler = Recycler()
    held: list[Any] = []
    for number, (size, drop) in enumerate(requests):
        array = recycler.empty((size,), np.float32)
        assert array.size < NUMBERS or address(array) % PAGE == 0
        array[...] = number
        held.append((array, number))
        if drop < len(held):
            del held[drop]
        del array
    assert all((array == number).all() for array, number in held)
