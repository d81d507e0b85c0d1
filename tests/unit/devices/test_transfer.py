"""Uploads, on streams that lag behind as far as CUDA allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.devices.cuda import transfer
from cpcnn.devices.cuda.transfer import BUFFERS, Uploader

from .lazy_cupy import LazyArray, LazyCupy, Stream

ACTIONS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from([0, 1, 3, 600, 5000])),
    st.tuples(st.just("read"), st.integers(0, 9)),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("compute goes on"), st.integers(1, 3)),
    st.tuples(st.just("copies go on"), st.integers(1, 3)),
)


class Bench:
    """An uploader, a computing stream that reads what it put, and what should have been read."""

    def __init__(self) -> None:
        self.cupy = LazyCupy()
        self.compute = Stream(self.cupy)
        self.uploader = Uploader(self.cupy)
        self.held: list[tuple[LazyArray, float]] = []
        self.found: list[bool] = []
        self.count = 0

    def put(self, size: int) -> None:
        self.count += 1
        host = np.full(size, self.count, np.float32)
        with self.compute:
            self.held.append((self.uploader.put(host), self.count))
        host[...] = -1  # the caller may use its array again at once

    def read(self, number: int) -> None:
        if self.held:
            array, value = self.held[number % len(self.held)]
            memory = array.memory  # a kernel has a pointer, and keeps no array alive
            self.compute.enqueue(lambda: self.found.append(bool((memory == value).all())))

    def drop(self, number: int) -> None:
        if self.held:
            del self.held[number % len(self.held)]

    def go_on(self, stream: Any, steps: int) -> None:
        stream.advance(min(len(stream.work), stream.done + steps))


@given(st.lists(ACTIONS, max_size=60))
def test_every_read_sees_what_was_put(actions: list[tuple[str, int]]) -> None:
    bench = Bench()
    for name, number in actions:
        if name == "put":
            bench.put(number)
        elif name == "read":
            bench.read(number)
        elif name == "drop":
            bench.drop(number)
        else:
            stream = bench.compute if name.startswith("compute") else bench.uploader._stream
            bench.go_on(stream, number)
    bench.compute.advance()
    assert all(bench.found)


def test_copies_may_run_far_ahead_of_the_computing() -> None:
    bench = Bench()
    for _ in range(4):
        bench.put(600)
        bench.read(0)
        bench.drop(0)
        bench.uploader._stream.advance()  # a copy into memory that is still to be read would show
    bench.compute.advance()
    assert bench.found == [True] * 4


def test_a_put_does_not_wait_for_the_work_before_it() -> None:
    """As long as a buffer is free, nothing has to be done before `put` returns."""
    bench = Bench()
    bench.compute.enqueue(lambda: None)
    for _ in range(BUFFERS):
        bench.put(600)
    assert bench.compute.done == 0
    assert bench.uploader._stream.done == 0
    bench.put(600)  # waits for the oldest copy, and still not for the computing stream
    assert bench.uploader._stream.done > 0
    assert bench.compute.done == 0


def test_memory_is_used_again_when_its_last_use_is_over() -> None:
    bench = Bench()
    for _ in range(20):
        bench.put(600)
        bench.read(0)
        bench.drop(0)
        bench.compute.advance()
    arenas = [len(free) for free in bench.cupy.free.values()]
    assert sum(arenas) + len(bench.uploader._lent) + len(bench.uploader._retired) <= 4
    assert len(bench.found) == 20
    assert all(bench.found)


@pytest.mark.parametrize(
    "host", [np.arange(24.0).reshape(4, 6)[:, ::2], np.array(3.0), np.zeros((0, 4)), np.eye(3).T]
)
def test_arrays_of_any_layout_arrive(host: Any) -> None:
    cupy = LazyCupy()
    array = Uploader(cupy).put(host)
    cupy.null.advance()
    assert array.shape == host.shape
    assert np.array_equal(array.memory, host)


def test_very_large_arrays_take_no_pinned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "LARGEST", 1000)
    bench = Bench()
    bench.put(600)
    bench.read(0)
    assert bench.uploader._staged == {}
    bench.compute.advance()
    assert bench.found == [True]
