"""Each of the cpu device's convolutions by itself: its rounding errors, its paths, its threads."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cpcnn.core.context import Context
from cpcnn.core.random import Philox
from cpcnn.core.window import Window
from cpcnn.devices import Device, get_device
from cpcnn.ops import REFERENCE
from cpcnn.testing import check_op

pytest.importorskip("numba")

from cpcnn.devices.cpu import gather, padded, windows, winograd, workers
from cpcnn.devices.cpu.convolution import (
    CompiledConv2D,
    DepthwiseConv2D,
    GatherConv2D,
    WinogradConv2D,
)

# Errors, by the largest sum of the same products without their signs.
TOLERANCE = {WinogradConv2D: 3e-5, GatherConv2D: 2e-6, DepthwiseConv2D: 2e-6}
WORK = 3_000_000  # multiplications of an example
EXAMPLES, MANY = 40, 600  # of the long tier
SAME = Window((3, 3), padding=((1, 1), (1, 1)))
NUMPY = get_device("numpy")


def normal(*shape: int, stream: str) -> Any:
    return Philox(0, stream).normal(shape)


@dataclass(frozen=True)
class Case:
    """A convolution of random numbers."""

    shape: tuple[int, int, int, int]
    filters: int
    window: Window
    groups: int = 1
    bias: bool = True
    activation: str | None = None

    def arguments(self) -> tuple[Any, Any, Any, Window]:
        kernel = (*self.window.kernel, self.shape[3] // self.groups, self.filters)
        bias = normal(self.filters, stream="b") if self.bias else None
        return normal(*self.shape, stream="x"), normal(*kernel, stream="w"), bias, self.window

    @property
    def options(self) -> dict[str, Any]:
        return {"groups": self.groups, "activation": self.activation}

    @property
    def gradient(self) -> Any:
        images, height, width, _ = self.shape
        return normal(images, *self.window.output(height, width), self.filters, stream="dy")


def gradients_of(op: Any, device: Device, args: Any, options: Any, dy: Any) -> tuple[Any, ...]:
    """Return y, dx, dw and db of one implementation, be it worth its while or not."""
    ctx = Context(device, training=True, grad=True)
    with device.scope():
        assert not issubclass(op, CompiledConv2D) or CompiledConv2D.supports(ctx, *args, **options)
        y, saved = op.forward(ctx, *args, **options)
        return (y, *op.backward(ctx, dy, saved))


def defined(case: Case, args: Any, dy: Any) -> tuple[Any, ...]:
    """The same by the definition, in float64."""
    exact = [None if a is None else a.astype(np.float64) for a in args[:3]]
    return gradients_of(
        REFERENCE["conv2d"][-1], NUMPY, (*exact, case.window), case.options, dy.astype(np.float64)
    )


def check_errors(op: Any, case: Case, device: Device) -> tuple[Any, ...]:
    """Check everything that an implementation computes, and return it."""
    x, w, b, window = args = case.arguments()
    dy = case.gradient
    found, expected = gradients_of(op, device, args, case.options, dy), defined(case, args, dy)
    signless = (abs(x), abs(w), None if b is None else abs(b), window)
    limits = defined(case, signless, abs(dy))
    for one, other, limit in zip(found, expected, limits, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == np.float32
            assert one.shape == other.shape
            assert np.abs(one - other).max() <= TOLERANCE[op] * limit.max()
    return found


# ---- Any geometry ----------------------------------------------------------------------------

sides = st.tuples(st.integers(0, 4), st.integers(0, 4))
padding = st.one_of(st.just(((0, 0), (0, 0))), st.tuples(sides, sides))
batches = st.integers(1, 20)
widths = st.one_of(st.integers(1, 20), st.integers(21, 150))
pairs = st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (2, 1)])


@st.composite
def geometries(
    draw: Any, windows: Any, channels: Any, filters: Any = None, groups: Any = None
) -> Case:
    """A case of limited size; without `filters` a depthwise one."""
    window = Window(*draw(windows), padding=draw(padding))
    images, count, parts = draw(batches), draw(channels), 1 if groups is None else draw(groups)
    outputs = 1 if filters is None else draw(filters)
    work = images * count * outputs * parts * window.kernel[0] * window.kernel[1]
    largest = min(17, max(3, int((WORK / work) ** 0.5)))
    # an image is no smaller than what makes one result
    least = [
        max(1, extent - sum(pad)) for extent, pad in zip(window.extent, window.padding, strict=True)
    ]
    height, width = (draw(st.integers(low, max(low, largest))) for low in least)
    bias = draw(st.booleans())
    if filters is None:
        return Case((images, height, width, count), count, window, count, bias)
    return Case((images, height, width, count * parts), outputs * parts, window, parts, bias)


small_windows = st.tuples(
    st.tuples(st.integers(1, 4), st.integers(1, 5)),
    st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 3), (3, 2)]),
    pairs,
)
of_winograd = geometries(
    st.just(((3, 3), (1, 1), (1, 1))), st.integers(16, 150), st.integers(16, 150)
)
of_gather = geometries(small_windows, widths, widths, st.sampled_from([1, 1, 1, 2, 3]))
of_depthwise = geometries(small_windows, st.integers(2, 150))
any_case = st.one_of(
    st.tuples(st.just(WinogradConv2D), of_winograd),
    st.tuples(st.just(GatherConv2D), st.one_of(of_gather, of_winograd, of_depthwise)),
    st.tuples(st.just(DepthwiseConv2D), of_depthwise),
)


@contextmanager
def finely() -> Iterator[Device]:
    """The device, with work cut into pieces, and groups of images formed, where little is done."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workers, "LEAST_WORK", 1 << 6)
        patch.setattr(winograd, "GROUP", 1 << 17)
        patch.setattr(winograd, "FEW", 12)
        patch.setattr(winograd, "SMALL", 1 << 10)
        winograd.plan.cache_clear()
        yield get_device("cpu", threads=2)
    winograd.plan.cache_clear()


@settings(max_examples=EXAMPLES)
@given(any_case)
def test_errors_are_small(drawn: tuple[type[CompiledConv2D], Case]) -> None:
    check_errors(*drawn, get_device("cpu", threads=1))


@settings(max_examples=EXAMPLES)
@given(any_case)
def test_errors_of_many_pieces_are_small(drawn: tuple[type[CompiledConv2D], Case]) -> None:
    with finely() as device:
        check_errors(*drawn, device)


@pytest.mark.long
@settings(max_examples=MANY)
@given(any_case)
def test_errors_of_many_geometries(drawn: tuple[type[CompiledConv2D], Case]) -> None:
    check_errors(*drawn, get_device("cpu", threads=1))
    with finely() as device:
        check_errors(*drawn, device)


def test_exact_leaves_winograd_out() -> None:
    case = Case((3, 9, 9, 32), 48, SAME)
    args = case.arguments()
    for exact, op in ((False, WinogradConv2D), (True, GatherConv2D)):
        device = get_device("cpu", threads=1, exact=exact)
        y, record = Context(device, grad=True).ops.conv2d(*args)
        assert record.op is op
        assert np.array_equal(y, gradients_of(op, device, args, {}, y)[0])


@pytest.mark.parametrize("shape", [(2, 5, 5, 1024), (40, 6, 6, 300), (64, 40, 40, 3)])
@pytest.mark.parametrize("constant", [False, True])
def test_long_sums_of_one_sign_are_exact(shape: tuple[int, int, int, int], constant: bool) -> None:
    """In a chain of thousands each term would be rounded to what the sum has reached."""
    x, w, _, window = Case(shape, 40, SAME, bias=False).arguments()
    dy = np.abs(normal(*shape[:3], 40, stream="dy"))
    x, w = np.abs(x), np.abs(w)
    if constant:  # all roundings have one sign as well
        x[:], w[:], dy[:] = 0.7123, 0.3377, 0.1931
    found = gradients_of(GatherConv2D, get_device("cpu", threads=2), (x, w, None, window), {}, dy)
    wide = [array.astype(np.float64) for array in (x, w, dy)]
    definition, args = REFERENCE["conv2d"][-1], (wide[0], wide[1], None, window)
    expected = gradients_of(definition, NUMPY, args, {}, wide[2])
    for one, other in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_allclose(one, other, rtol=5e-6 if constant else 2e-6)


@settings(max_examples=EXAMPLES)
@given(of_winograd)
def test_exact_never_chooses_winograd(case: Case) -> None:
    ctx = Context(get_device("cpu", threads=1, exact=True))
    assert not WinogradConv2D.supports(ctx, *case.arguments(), **case.options)
    assert GatherConv2D.supports(ctx, *case.arguments(), **case.options)


# ---- Every path ------------------------------------------------------------------------------

# What each case is there for is checked below.
WINOGRAD = {
    "few tiles": Case((2, 13, 10, 33), 150, SAME),
    "one image of many tiles": Case((1, 45, 47, 17), 40, SAME),
    "many images, small weights": Case((19, 11, 14, 20), 70, SAME, bias=False),
    "many images, large weights": Case((7, 13, 15, 129), 130, SAME),
    "tiny images": Case((101, 4, 3, 129), 131, Window((3, 3), padding=((0, 1), (2, 1)))),
}
GATHER = {
    "no copy": Case((9, 11, 13, 19), 70, Window((3, 3))),
    "no copy, rows that nothing reads": Case((9, 12, 14, 19), 7, Window((3, 2), (3, 3))),
    "pixels that nothing reads": Case((9, 12, 14, 19), 7, Window((1, 1), (2, 3))),
    "bands of one image": Case((1, 131, 120, 17), 9, Window((3, 3), padding=((1, 2), (2, 0)))),
    "strided bands": Case((1, 151, 140, 8), 9, Window((7, 7), (2, 2), padding=((3, 3), (3, 3)))),
    "several images a block": Case((20, 6, 5, 12), 33, Window((2, 3), padding=((1, 0), (0, 3)))),
    "by panel": Case((1, 10, 10, 18), 300, SAME),
    "weights as they are": Case((1, 4, 5, 6), 140, SAME),
    "few pixels": Case((1, 6, 6, 70), 140, SAME),
    "few pixels, no copy": Case((2, 7, 6, 40), 33, Window((3, 2), (2, 1))),
    "groups": Case((3, 9, 8, 3 * 20), 3 * 70, SAME, groups=3),
    "dilated": Case((3, 20, 20, 16), 8, Window((3, 3), (1, 2), (4, 3), ((4, 4), (3, 3)))),
    "more padding than kernel": Case((2, 6, 6, 8), 70, Window((2, 2), padding=((4, 3), (5, 2)))),
    "rows in the padding alone": Case(
        (1, 6, 6, 300), 4, Window((3, 3), padding=((12, 12), (12, 12)))
    ),
    "one pixel": Case((5, 9, 9, 32), 8, Window((9, 9))),
    "one channel": Case((19, 17, 15, 1), 40, SAME),
    "three channels": Case((5, 33, 34, 3), 67, SAME, bias=False),
    "three channels, strided": Case(
        (5, 33, 34, 3), 24, Window((3, 3), (2, 2), padding=((0, 1), (1, 0)))
    ),
    "three channels, one large image": Case((1, 211, 223, 3), 16, SAME),
}
DEPTHWISE = {
    "depthwise": Case((11, 21, 19, 37), 37, SAME, groups=37),
    "depthwise, strided": Case(
        (11, 21, 18, 48), 48, Window((3, 3), (2, 2), padding=((0, 1), (1, 1))), groups=48
    ),
    "depthwise, no padding": Case((3, 17, 18, 150), 150, Window((5, 4)), groups=150),
    "depthwise, much padding": Case(
        (3, 7, 8, 20), 20, Window((2, 3), padding=((5, 1), (0, 6))), groups=20
    ),
}
PATHS = {
    **{name: (WinogradConv2D, case) for name, case in WINOGRAD.items()},
    **{name: (GatherConv2D, case) for name, case in GATHER.items()},
    **{name: (DepthwiseConv2D, case) for name, case in DEPTHWISE.items()},
}
every_path = pytest.mark.parametrize(("op", "case"), PATHS.values(), ids=PATHS.keys())


@every_path
def test_all_threads_give_the_same_bits(op: Any, case: Case) -> None:
    alone = check_errors(op, case, get_device("cpu", threads=1))
    for threads in (2, 4):
        device = get_device("cpu", threads=threads)
        together = gradients_of(op, device, case.arguments(), case.options, case.gradient)
        for one, other in zip(alone, together, strict=True):
            assert one is other is None or one.tobytes() == other.tobytes()


def test_several_groups_of_images(monkeypatch: pytest.MonkeyPatch) -> None:
    case = WINOGRAD["many images, large weights"]
    winograd.plan.cache_clear()
    monkeypatch.setattr(winograd, "GROUP", 1 << 19)
    assert winograd_plan(case).tiles > 2 * winograd_plan(case).group
    check_errors(WinogradConv2D, case, get_device("cpu", threads=2))
    winograd.plan.cache_clear()


def winograd_plan(case: Case) -> winograd.Plan:
    return winograd.plan(case.shape, case.filters, case.window)


def gather_plan(name: str) -> windows.Plan:
    case = GATHER[name]
    kernel = case.arguments()[1].shape
    return gather.forward_plan(case.shape, kernel, case.window, case.groups)


def test_paths_of_winograd_are_what_they_are_called() -> None:
    plans = {name: winograd_plan(case) for name, case in WINOGRAD.items()}
    few = [name for name, plan in plans.items() if plan.tiles <= winograd.FEW]
    small = [name for name, p in plans.items() if p.channels * p.filters <= winograd.SMALL]
    assert few == ["few tiles"]
    assert small == ["few tiles", "one image of many tiles", "many images, small weights"]
    assert plans["one image of many tiles"].tiles_per_image > winograd.BLOCK
    assert plans["tiny images"].tiles_per_image == 1


def test_paths_of_gather_are_what_they_are_called() -> None:
    plans = {name: gather_plan(name).tables for name in GATHER}
    windows_of = {name: len(np.unique(p.segments[:, 2])) for name, p in plans.items()}
    whole = [name for name, count in windows_of.items() if count == 1]
    assert whole == [
        "no copy",
        "no copy, rows that nothing reads",
        "pixels that nothing reads",
        "few pixels, no copy",
        "one pixel",
    ]
    assert windows_of["dilated"] == windows_of["groups"] == 9
    empty = [name for name, p in plans.items() if (p.segments[:, 3] == 0).any()]
    assert "more padding than kernel" in empty
    assert "rows in the padding alone" in empty
    images, bands, _, _ = gather_plan("bands of one image").tables.blocks
    assert (images, bands > 2) == (1, True)
    assert gather_plan("strided bands").tables.blocks[1] > 2
    assert gather_plan("several images a block").tables.blocks[0] > 1
    thin = GATHER["three channels, one large image"]
    assert padded.make_plan(thin.shape, thin.window, thin.filters).blocks[1] > 2
    assert gather_plan("by panel").count < workers.PARTS // 2
    as_they_are = plans["weights as they are"]
    assert (as_they_are.segments[:, 1] * as_they_are.blocks[0]).sum() <= gather.NO_PACKING
    unread = GATHER["pixels that nothing reads"]
    kernel, dy_shape = unread.arguments()[1].shape, unread.gradient.shape
    backward = gather.backward_plan(unread.shape, dy_shape, kernel, unread.window, 1)
    assert (backward.tables.segments[:, 3] == 0).any()


# ---- What comes in ---------------------------------------------------------------------------

ONE_OF_EACH = {name: PATHS[name] for name in ("few tiles", "dilated", "depthwise")} | {
    "many tiles": PATHS["many images, small weights"],
    "no copy": PATHS["no copy"],
}
one_of_each = pytest.mark.parametrize(("op", "case"), ONE_OF_EACH.values(), ids=ONE_OF_EACH.keys())


@one_of_each
@pytest.mark.parametrize("activation", [None, "relu", "tanh"])
def test_nan_comes_out(op: Any, case: Case, activation: str | None) -> None:
    x, w, b, window = case.arguments()
    x[0, 2, 3, 1] = np.nan
    dy = case.gradient
    dy[-1, 5, 4, 0] = np.nan  # of a pixel whose window lies inside: padding is left out
    options = {"groups": case.groups, "activation": activation}
    found = gradients_of(op, get_device("cpu", threads=2), (x, w, b, window), options, dy)
    expected = gradients_of(REFERENCE["conv2d"][-1], NUMPY, (x, w, b, window), options, dy)
    for one, other in zip(found, expected, strict=True):
        if other is not None:
            assert np.isnan(other).any() or activation == "relu"
            assert np.isnan(one[np.isnan(other)]).all()


@one_of_each
@pytest.mark.parametrize("activation", [None, "relu", "elu", "softmax"])
def test_gradients_in_any_layout_and_type(op: Any, case: Case, activation: str | None) -> None:
    device, args = get_device("cpu", threads=2), case.arguments()
    options = {"groups": case.groups, "activation": activation}
    dy = case.gradient
    wide = np.zeros((*dy.shape[:3], dy.shape[3] + 3), np.float32)
    wide[..., 1:-2] = dy
    expected = gradients_of(op, device, args, options, dy)
    for given_dy in (wide[..., 1:-2], dy.astype(np.float64), np.asfortranarray(dy)):
        found = gradients_of(op, device, args, options, given_dy)
        for one, other in zip(found, expected, strict=True):
            assert one is other is None or np.array_equal(one, other)
            assert one is None or one.dtype == np.float32


@one_of_each
def test_arrays_that_cannot_be_written(op: Any, case: Case) -> None:
    device, (x, w, b, window), dy = get_device("cpu", threads=2), case.arguments(), case.gradient
    expected = gradients_of(op, device, (x, w, b, window), case.options, dy)
    for array in (x, w, dy) if b is None else (x, w, b, dy):
        array.flags.writeable = False
    found = gradients_of(op, device, (x, w, b, window), case.options, dy)
    assert all(
        one is other is None or np.array_equal(one, other)
        for one, other in zip(found, expected, strict=True)
    )


@one_of_each
@pytest.mark.parametrize("activation", ["linear", "relu", "relu6", "tanh", "softmax", "elu"])
def test_activations(op: Any, case: Case, activation: str) -> None:
    device, args, dy = get_device("cpu", threads=2), case.arguments(), case.gradient
    options = {"groups": case.groups, "activation": activation}
    found = gradients_of(op, device, args, options, dy)
    plain = gradients_of(op, device, args, {"groups": case.groups}, dy)
    ctx = Context(device, grad=True)
    y, record = ctx.ops.activation(plain[0], activation)
    before = ctx.ops.backward(dy, record)
    expected = gradients_of(op, device, args, {"groups": case.groups}, before)
    for one, other in zip(found, (y, *expected[1:]), strict=True):
        assert one is other is None or np.array_equal(one, other)


@pytest.mark.parametrize("name", ["few tiles", "dilated", "depthwise"])
def test_other_arrays_are_left_to_the_definition(name: str) -> None:
    op, case = PATHS[name]
    x, w, b, window = case.arguments()
    device = get_device("cpu", threads=1)
    ctx = Context(device)
    assert op.supports(ctx, x, w, b, window, **case.options)
    for args in (
        (x.astype(np.float64), w.astype(np.float64), b.astype(np.float64)),
        (x, w, b.astype(np.float64)),
        (np.asfortranarray(x), w, b),
        (x, np.asfortranarray(w), b),
        (x, w, np.repeat(b, 2)[::2]),
        (x, w[..., :-1].copy(), b),
        (x, w, b[:-1]),
        (x[:0], w, b),
    ):
        assert not op.supports(ctx, *args, window, **case.options)
    assert not op.supports(ctx, x, w, b, window, groups=case.groups, activation="gelu")


def test_shapes_that_do_not_fit_are_refused() -> None:
    ctx = Context(get_device("cpu", threads=1))
    x, w, _, window = Case((2, 8, 8, 32), 48, SAME).arguments()
    with pytest.raises(ValueError, match="mismatch"):
        ctx.ops.conv2d(x[..., :-1].copy(), w, None, window)
    with pytest.raises(ValueError, match="broadcast"):
        ctx.ops.conv2d(x, w, np.zeros(47, np.float32), window)


def test_the_contract_of_ops_with_many_channels() -> None:
    device = get_device("cpu", threads=2)
    for case in (Case((2, 9, 7, 20), 70, SAME), Case((2, 9, 7, 20), 20, SAME, groups=20)):
        check_op(device, "conv2d", *case.arguments(), **case.options, gradient=False)


# ---- Other registers -------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("lanes", [4, 8])
def test_narrower_registers(lanes: int) -> None:
    """The tests of products and of convolutions, as on a processor with smaller vectors."""
    names = ("test_products.py", "test_compiled_convolution.py", "test_kernel_memory.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
         *(Path(__file__).with_name(name) for name in names)],
        env=os.environ | {"CPCNN_LANES": str(lanes)},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
