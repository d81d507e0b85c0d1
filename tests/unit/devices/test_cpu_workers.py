"""The cpu device's threads: every piece once, errors, other threads, forks, and their end."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cpcnn.core.context import Context
from cpcnn.devices.cpu import CpuDevice
from cpcnn.devices.cpu.blas import _libraries, one_blas_thread
from cpcnn.devices.cpu.workers import PARTS, Workers, cut, share

PIECES = [slice(k, k + 1) for k in range(PARTS)]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_every_piece_is_done_once(threads: int) -> None:
    workers = Workers(threads)
    for _ in range(200):
        done: list[slice] = []
        workers.run(done.append, PIECES)
        assert sorted(piece.start for piece in done) == list(range(PARTS))


def test_the_threads_work_together() -> None:
    barrier = threading.Barrier(3, timeout=10)
    Workers(3).run(lambda piece: barrier.wait() and None, PIECES[:3])


@pytest.mark.parametrize("where", ["caller", "helper"])
def test_an_error_comes_out_when_all_have_ended(where: str) -> None:
    caller, busy = threading.current_thread(), [0]
    workers = Workers(3)

    def work(piece: slice) -> None:
        busy[0] += 1
        time.sleep(0.01)
        busy[0] -= 1
        if (threading.current_thread() is caller) == (where == "caller"):
            raise ArithmeticError(where)

    for _ in range(3):
        with pytest.raises(ArithmeticError, match=where):
            workers.run(work, PIECES)
        assert busy == [0]
    test_every_piece_is_done_once(3)


def test_nobody_begins_after_an_error() -> None:
    begun: list[int] = []

    def work(piece: slice) -> None:
        begun.append(piece.start)
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        Workers(2).run(work, PIECES)
    assert len(begun) <= 2


def test_an_interruption_comes_out_when_all_have_ended() -> None:
    caller, ended = threading.current_thread(), threading.Event()
    workers = Workers(2)
    started = threading.Event()

    def work(piece: slice) -> None:
        if threading.current_thread() is caller:
            assert started.wait(10)
            raise KeyboardInterrupt
        started.set()
        time.sleep(0.05)
        ended.set()

    with pytest.raises(KeyboardInterrupt):
        workers.run(work, PIECES[:2])
    assert ended.is_set()


def test_work_within_work() -> None:
    workers, done = Workers(2), []
    workers.run(lambda _: workers.run(done.append, PIECES), PIECES)
    assert len(done) == PARTS * PARTS


def test_other_threads_of_the_program() -> None:
    workers = Workers(3)

    def count(_: int) -> int:
        done: list[slice] = []
        workers.run(done.append, PIECES)
        return len(done)

    with ThreadPoolExecutor(6) as pool:
        assert set(pool.map(count, range(500))) == {PARTS}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork() -> None:
    workers = Workers(2)
    workers.run(lambda _: None, PIECES)
    child = os.fork()
    if child == 0:
        done: list[slice] = []
        workers.run(done.append, PIECES)
        os._exit(len(done))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == PARTS


def test_threads_end_with_their_device() -> None:
    before = set(threading.enumerate())
    workers = Workers(4)
    workers.run(lambda _: time.sleep(0.001), PIECES)
    started = set(threading.enumerate()) - before
    assert [thread.name for thread in started] == ["cpcnn-cpu"] * 3
    del workers
    gc.collect()
    assert soon(lambda: not any(thread.is_alive() for thread in started))


def soon(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_threads_hold_on_to_nothing() -> None:
    workers, kept = Workers(2), sys.getrefcount

    def work(piece: slice) -> None:
        time.sleep(0.001)

    before = kept(work)
    workers.run(work, PIECES)
    assert kept(work) == before


def test_little_work_stays_in_one_piece() -> None:
    ctx = Context(CpuDevice(2))
    assert cut(ctx, 10, 1) == [slice(0, 10)]
    assert cut(ctx, 0, 1 << 30) == [slice(0, 0)]
    assert cut(ctx, 3, 1 << 30) == [slice(0, 1), slice(1, 2), slice(2, 3)]
    assert cut(ctx.variant(undivided=True), 3, 1 << 30) == [slice(0, 3)]


def test_batches_are_shared_by_images_where_weights_are_few() -> None:
    dense = [(1000, 1000)]
    assert share(15, dense) == [slice(0, 15)]
    assert share(17, dense) == [slice(0, 8), slice(8, 17)]
    assert len(share(64, dense)) == 4
    assert len(share(1 << 20, dense)) == PARTS
    assert share(64, [(3000, 1000)]) == share(64, [(3, 3, 300, 300)]) == [slice(0, 64)]


# ---- BLAS ------------------------------------------------------------------------------------


def blas_threads() -> list[Any]:
    shared, own = _libraries()
    return [library.get_num_threads() for library in (*shared, *own)]


def test_blas_has_one_thread_until_the_last_is_out() -> None:
    before = blas_threads()
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with one_blas_thread:
            inside.set()
            assert leave.wait(10)

    thread = threading.Thread(target=other)
    with one_blas_thread:
        thread.start()
        assert inside.wait(10)
        with one_blas_thread:
            assert set(blas_threads()) <= {1}
    assert set(blas_threads()) <= {1}
    leave.set()
    thread.join()
    assert blas_threads() == before
