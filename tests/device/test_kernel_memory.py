"""Compiled convolutions read only what was written, and write only what is theirs.

Kernels check no index: a mistake would be a crash, or a wrong number once in a while.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device, get_device

pytest.importorskip("numba")

from cpcnn.devices.cpu import winograd, workers
from cpcnn.devices.cpu.convolution import DepthwiseConv2D, GatherConv2D, WinogradConv2D
from cpcnn.devices.cpu.kernels import jit

EXAMPLES, MANY = 80, 600  # of the long tier
NUMBERS = Philox(0, "numbers").normal((1 << 16,))
CHANNELS = [1, 2, 3, 8, 15, 16, 17, 31, 33, 48, 49, 64, 65, 70, 129]  # around vectors and panels
SIDES = [0, 0, 1, 2, 3, 6]


def numbers(shape: tuple[int, ...], start: int) -> Any:
    return np.resize(NUMBERS[start:], shape)


@st.composite
def convolutions(draw: Any) -> tuple[Any, tuple[int, ...], int, Window, int]:
    """An implementation, and what it may be called with: x's shape, filters, window and groups."""
    op = draw(st.sampled_from([WinogradConv2D, GatherConv2D, GatherConv2D, DepthwiseConv2D]))
    step = st.sampled_from([1, 1, 2, 3, 5])
    side = st.tuples(st.sampled_from(SIDES), st.sampled_from(SIDES))
    padding = draw(st.one_of(st.just(((0, 0), (0, 0))), st.tuples(side, side)))
    if op is WinogradConv2D:
        window = Window((3, 3), padding=padding)
    else:
        kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
        steps = draw(st.tuples(step, step)), draw(st.tuples(step, step))
        window = Window(kernel, *steps, padding)
    channels, filters, groups = draw(st.sampled_from(CHANNELS)), draw(st.sampled_from(CHANNELS)), 1
    if op is GatherConv2D:
        groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    elif op is DepthwiseConv2D:
        channels, filters, groups = 1, 1, draw(st.sampled_from(CHANNELS[1:]))
    largest = 12 if channels * filters * window.kernel[0] * window.kernel[1] > 20_000 else 21
    # an image is no smaller than what makes one result
    least = [
        max(1, extent - sum(pads)) for extent, pads in zip(window.extent, padding, strict=True)
    ]
    height, width = (draw(st.integers(low, max(low, largest))) for low in least)
    shape = (draw(st.integers(1, 20)), height, width, channels * groups)
    return op, shape, filters * groups, window, groups


# How work is cut: as ever, or finely where it is little, with either gradient of many tiles.
AS_EVER, BY_IMAGE, BY_GROUP = None, 1 << 20, 0
cuts = st.sampled_from([AS_EVER, BY_IMAGE, BY_GROUP])


@contextmanager
def cut(small: int | None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if small is not None:
            patch.setattr(workers, "LEAST_WORK", 1 << 6)
            patch.setattr(winograd, "FEW", 0)
            patch.setattr(winograd, "GROUP", 1)
            patch.setattr(winograd, "SMALL", small)
        winograd.plan.cache_clear()  # plans remember how many tiles are a group
        yield
    winograd.plan.cache_clear()


def computed(device: Device, case: Any, rectify: bool, input_gradient: bool = True) -> list[Any]:
    """Return y, dx, dw and db of a case."""
    op, shape, filters, window, groups = case
    kernel = (*window.kernel, shape[3] // groups, filters)
    x, w, b = (numbers(s, k) for k, s in enumerate((shape, kernel, (filters,))))
    dy = numbers((shape[0], *window.output(*shape[1:3]), filters), 7)
    x, w, b, dy = (device.put(array) for array in (x, w, b, dy))
    ctx = Context(device, grad=True, input_gradient=input_gradient)
    activation = "relu" if rectify else None
    with device.scope():
        y, saved = op.forward(ctx, x, w, b, window, groups=groups, activation=activation)
        return [y, *op.backward(ctx, dy, saved)]


def check(fenced_device: Any, case: Any, rectify: bool, small: int | None) -> None:
    with cut(small):
        found = computed(fenced_device, case, rectify)
        short = computed(fenced_device, case, rectify, input_gradient=False)
        fenced_device.check()
        expected = computed(get_device("cpu", threads=2), case, rectify)
    assert all(np.isfinite(array).all() for array in found)
    bits = [array.tobytes() for array in found]
    assert bits == [array.tobytes() for array in expected]
    assert short.pop(1) is None
    assert [array.tobytes() for array in short] == [bits[0], *bits[2:]]


WITHOUT_A_PIXEL = Window((1, 1), (1, 7), padding=((0, 0), (6, 0)))


@settings(max_examples=EXAMPLES)
@example((GatherConv2D, (2, 3, 1, 5), 4, WITHOUT_A_PIXEL, 1), False, AS_EVER)
@given(convolutions(), st.booleans(), cuts)
def test_convolutions(fenced_device: Any, case: Any, rectify: bool, small: int | None) -> None:
    check(fenced_device, case, rectify, small)


@pytest.mark.long
@settings(max_examples=MANY)
@given(convolutions(), st.booleans(), cuts)
def test_many_convolutions(fenced_device: Any, case: Any, rectify: bool, small: int | None) -> None:
    check(fenced_device, case, rectify, small)


def test_fences_and_unwritten_numbers_tell(fenced_device: Any) -> None:
    fence = fenced_device.FENCE
    assert np.isnan(fenced_device.empty((5, 3), np.float32)).all()
    fenced_device.check()
    for place in (0, fence - 4, fence + 60, fence + 60 + fence - 4):
        fenced_device.empty((5, 3), np.float32)
        whole = fenced_device._fenced[-1][0]
        with np.errstate(invalid="ignore"):
            whole[place : place + 4].view(np.float32)[0] += 1
        with pytest.raises(AssertionError, match="is written"):
            fenced_device.check()


def test_vectors_of_another_size_are_compiled_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set()
    for lanes in (4, 8, 16):
        monkeypatch.setattr(jit, "LANES", lanes)
        folders.add(jit._folder.__wrapped__().path)
    assert len(folders) == 3
