"""The input stage: `input_stage.cu` on its own source, against `ops/input_stage.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from emulation import EmulatedCudaDevice, EmulatedLauncher, guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, seeds

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.devices import get_device
from cpcnn.devices.cuda import input_stage as ours
from cpcnn.devices.cuda.element_types import C_TYPES, full_vector
from cpcnn.devices.cuda.geometry import LIMITS, THREADS, Launch, rows
from cpcnn.ops.input_stage import InputStage
from cpcnn.testing import check_op

sides = st.integers(1, 7)
pixel_types = st.sampled_from(["uint8", "float32"])
names = ("crop", "flip", "affine", "index")
given_names = st.sets(st.sampled_from(names))
widths = st.sampled_from([None, 4, 8, 9, 16])  # of the result, in channels


@dataclass
class Case:
    """Host arrays of a call."""

    images: NDArray[Any]
    mean: NDArray[np.float64]
    std: NDArray[np.float64]
    warp: dict[str, NDArray[Any]]

    def definition(self, dtype: str = "float64", channels: int | None = None) -> NDArray[Any]:
        ctx = Context(get_device("numpy"))
        images = self.images.astype("float64")
        result: Any = InputStage.run(
            ctx, images, self.mean, self.std, **self.warp, channels=channels, dtype=dtype
        )
        return np.asarray(result)

    def size(self) -> NDArray[np.float64]:
        """The size of the terms of each result, per channel."""
        return np.asarray(
            (2 * np.abs(exactly(self.images)).max(initial=0) + np.abs(self.mean)) / self.std
        )


def draw(
    seed: int, given: set[str], kind: str, height: int, width: int, channels: int, batch: int = 3
) -> Case:
    rng = np.random.default_rng(seed)
    stored = batch + 2 if "index" in given else batch
    shape = (stored, height, width, channels)
    images: NDArray[Any] = rng.integers(0, 256, shape).astype(kind)
    if kind == "float32":
        images = images + rng.normal(size=shape).astype(kind)
    affine = np.tile(np.eye(2, 3), (batch, 1, 1)) + rng.normal(size=(batch, 2, 3)) / 4
    affine[:, :, 2] *= 4  # beyond the border too
    warp = {
        "crop": rng.integers(-20, 21, (batch, 2)).astype("int32"),
        "flip": rng.integers(0, 2, batch).astype(bool),
        "affine": affine.astype(rng.choice(["float32", "float64"])),
        "index": rng.integers(0, max(stored, 1), batch).astype(rng.choice(["int32", "int64"])),
    }
    mean, std = rng.uniform(0, 255, channels), rng.uniform(1, 80, channels)
    return Case(images, mean, std, {name: warp[name] for name in sorted(given)})


def run(ctx: Context, case: Case, shift: int, dtype: str, channels: int | None) -> NDArray[Any]:
    """Run the fused kernel on guarded arrays."""
    with guards(shift) as g:
        result: Any = ours.FusedInputStage.run(
            ctx,
            *(g.input(array) for array in (case.images, case.mean, case.std)),
            **{name: g.input(array) for name, array in case.warp.items()},
            channels=channels,
            dtype=dtype,
        )
    return np.asarray(result)


@given(
    given_names, pixel_types, dtypes, sides, sides, st.integers(1, 9), st.integers(0, 4),
    st.booleans(), st.sampled_from([0, 1, 4]), seeds,
)  # fmt: skip
def test_every_combination(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    batch: int, widened: bool, shift: int, seed: int,
) -> None:  # fmt: skip
    case = draw(seed, given, kind, height, width, channels, batch)
    wanted = -(-channels // 8) * 8 if widened else None
    found = run(ctx, case, shift, str(dtype), wanted)
    assert found.dtype == dtype
    assert found.shape == (batch, height, width, wanted or channels)
    assert not exactly(found[..., channels:]).any()
    assert_rounded(found[..., :channels], case.definition(), magnitude=case.size(), steps=12)


@given(
    st.sets(st.sampled_from(["crop", "flip", "index"])), pixel_types, dtypes, sides, sides,
    st.integers(1, 5), widths, seeds,
)  # fmt: skip
def test_whole_places_are_exact(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    wanted: int | None, seed: int,
) -> None:  # fmt: skip
    """Without a warp nothing is interpolated: the very numbers of the definition, rounded once."""
    if wanted is not None:
        channels = min(channels, wanted)
    case = draw(seed, given, kind, height, width, channels)
    found = run(ctx, case, 0, str(dtype), wanted)
    expected = case.definition(str(accumulator_of(dtype)), wanted).astype(dtype)
    assert found.tobytes() == expected.tobytes()


@given(
    given_names, pixel_types, dtypes, st.integers(1, 4), st.integers(1, 9), st.integers(1, 9),
    st.integers(1, 5), st.integers(1, 20), seeds,
)  # fmt: skip
def test_any_geometry_gives_the_same(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    x: int, y: int, seed: int,
) -> None:  # fmt: skip
    """Threads step on through vectors of channels and through pixels, one channel or a pack."""
    case = draw(seed, given, kind, height, width, channels)
    c_type, total = C_TYPES[str(dtype)], 16
    expected = run(ctx, case, 0, str(dtype), total).tobytes()
    wide = {"affine": "float64", "index": "int64"}
    for whole in (False, True):
        with guards() as g:
            warp = {
                name: g.input(case.warp[name].astype(wide.get(name, case.warp[name].dtype)))
                if name in given
                else None
                for name in names
            }
            images, result = g.input(case.images), g.output((3, height, width, total), dtype)
            vec = full_vector(c_type) if whole else 1
            ours.input_stage(
                ctx, Launch((3 * height, 1, 1), (x, y, 1)), (c_type, C_TYPES[kind], vec),
                images=images, mean=g.input(case.mean), deviation=g.input(case.std),
                **warp, y=result, height=height, width=width, channels=channels,
                vectors=total // vec,
            )  # fmt: skip
        assert result.tobytes() == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_padded_channels_are_stored_in_packs(
    launcher: EmulatedLauncher, ctx: Context, kind: str, dtype: Any
) -> None:
    """Three channels become one aligned store, wherever the stored pixels lie."""
    case = draw(0, {"crop", "index"}, kind, 3, 4, 3)
    full = full_vector(C_TYPES[str(dtype)])
    for shift, channels in ((0, 8), (0, None), (1, 8), (4, 8)):
        vec = full if channels else 1
        instance = (C_TYPES[str(dtype)], C_TYPES[kind], vec)
        before = launcher.launched["input_stage", instance]
        found = run(ctx, case, shift, str(dtype), channels)
        assert launcher.launched["input_stage", instance] == before + 1
        assert_rounded(found[..., :3], case.definition(), magnitude=case.size())


@pytest.mark.parametrize("height", [1, 2, 7])
@pytest.mark.parametrize("width", [1, 2, 6])
def test_crops_from_the_ends_of_their_type(ctx: Context, height: int, width: int) -> None:
    """Also where a place that wrapped around would be folded to another pixel."""
    ends = [-(2**31), -(2**31) + 1, -1, 0, 1, 2**31 - 2, 2**31 - 1]
    case = draw(0, {"crop", "flip"}, "uint8", height, width, 2, len(ends) ** 2)
    case.warp["crop"] = np.array([(a, b) for a in ends for b in ends], "int32")
    found = run(ctx, case, 0, "float64", None)
    assert np.array_equal(found, case.definition())


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("side", [1, 4, 5])
def test_right_angles_are_exact(ctx: Context, turns: int, side: int) -> None:
    case = draw(1, {"affine"}, "uint8", side, side, 3)
    turn = np.linalg.matrix_power(np.array([[0, 1], [-1, 0]]), turns)
    case.warp["affine"] = np.tile(np.concatenate([turn, np.zeros((2, 1))], axis=1), (3, 1, 1))
    case.mean[...], case.std[...] = 0, 1
    found = run(ctx, case, 0, "float32", 4)
    assert np.array_equal(found[..., :3], np.rot90(case.images, turns, axes=(1, 2)))


def test_the_nearest_edge_counts_far_beyond_the_border(ctx: Context) -> None:
    case = draw(2, {"affine"}, "uint8", 4, 5, 3, 5)
    far = [1e300, -1e300, np.inf, -np.inf, 5e9]
    case.warp["affine"] = np.array([[[0, 0, v], [0, 0, -v]] for v in far])
    case.mean[...], case.std[...] = 0, 1
    found = run(ctx, case, 0, "float32", None)
    for k, value in enumerate(far):
        corner = case.images[k, -1, 0] if value > 0 else case.images[k, 0, -1]
        assert (found[k] == corner).all()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_a_place_that_is_nan_is_not_hidden(ctx: Context, kind: str, axis: int) -> None:
    """Nor does it read outside of the images."""
    case = draw(3, {"affine"}, kind, 4, 5, 3)
    case.warp["affine"] = np.tile(np.eye(2, 3), (3, 1, 1))
    case.warp["affine"][1, axis, 2] = np.nan
    found = run(ctx, case, 0, "float32", None)
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[[0, 2]]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_pixels_that_are_not_finite_stay_so(ctx: Context, bad: float) -> None:
    case = draw(4, {"index"}, "float32", 2, 3, 3)
    case.warp["index"] = np.array([4, 4, 0])
    case.images[4] = bad
    found = run(ctx, case, 0, "float16", 8)
    assert not np.isfinite(found[:2, ..., :3]).any()
    assert np.isfinite(found[2]).all()
    assert not found[..., 3:].any()


def test_what_the_kernel_does_not_take(ctx: Context) -> None:
    case = draw(5, set(), "uint8", 2, 3, 3)
    mean, std = case.mean, case.std
    for images in (case.images.astype("int64"), case.images.astype("float64")):
        assert not ours.FusedInputStage.supports(ctx, images, mean, std)
        found = ctx.ops.input_stage(images, mean, std, dtype="float64")
        assert np.array_equal(found, case.definition())
    crop = np.zeros((3, 2), "int64")
    assert not ours.FusedInputStage.supports(ctx, case.images, mean, std, crop=crop)
    assert not ours.FusedInputStage.supports(ctx, case.images, mean, std, flip=crop[:, 0])
    assert not ours.FusedInputStage.supports(ctx, case.images, mean, std, dtype="int32")
    with pytest.raises(UsageError, match="images of 3 channels do not fit 2"):
        ctx.ops.input_stage(case.images, mean, std, channels=2)


@pytest.mark.parametrize("batch", [0, 1, 5])
@pytest.mark.parametrize("dtype", [str(dtype) for dtype in DTYPES])
def test_the_contract_of_ops(device: EmulatedCudaDevice, dtype: str, batch: int) -> None:
    half = dtype in ("float16", "bfloat16")
    for arrays in (set(), {"crop", "flip"}, {"affine"}, set(names)):
        case = draw(batch, arrays, "uint8", 4, 5, 3, batch)
        for channels in (None, 8):
            check_op(
                device, "input_stage", case.images, case.mean, case.std, **case.warp,
                channels=channels, dtype=dtype,
                dtypes=(dtype,) if half else ("float64", "float32"),
            )  # fmt: skip


@given(st.integers(1, LIMITS[0]), st.sampled_from([1, 3, 4, 8, 512]), st.integers(1, 10_000))
def test_geometry_of_large_batches(count: int, vectors: int, width: int) -> None:
    rows(count, vectors, width).check(THREADS)
