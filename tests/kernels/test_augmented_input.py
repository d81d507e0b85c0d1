"""The input stage with further changes: `augmented_input.cu` against `ops/augmented_input.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import DTYPES, accumulator_of, assert_rounded, dtypes, exactly, seeds

from cpcnn.core.context import Context
from cpcnn.core.errors import UsageError
from cpcnn.devices import get_device
from cpcnn.devices.cuda import augmented_input as ours
from cpcnn.devices.cuda.element_types import C_TYPES
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.ops.augmented_input import AugmentedInput

NAMES = ("crop", "flip", "affine", "colour", "tone", "erase", "mix", "index")
MIX = ("partner", "share", "box")
POINTERS = ("crop", "flip", "affine", "colour", "tone", "erase", *MIX, "index")

sides = st.integers(1, 7)
pixel_types = st.sampled_from(["uint8", "float32"])
channel_counts = st.sampled_from([1, 3])
given_names = st.sets(st.sampled_from(NAMES))


def draw(
    seed: int, given: set[str], kind: str, shape: tuple[int, int, int], batch: int = 3
) -> dict[str, Any]:
    """Return the arguments of a call, of whole numbers where tones have steps between them."""
    rng = np.random.default_rng(seed)
    stored = batch + 2 if "index" in given else batch
    channels = shape[-1]
    affine = np.tile(np.eye(2, 3), (batch, 1, 1)) + rng.normal(size=(batch, 2, 3)) / 4
    colour = rng.normal(size=(batch, channels, channels + 1)) / 2
    if "tone" in given:  # of the values before it, none lies near a step
        affine, colour = np.rint(affine), np.rint(colour)
    colour[..., -1] = rng.integers(-50, 250, (batch, channels))

    def boxes() -> NDArray[Any]:
        ends = rng.integers(-2, 9, (batch, 2, 2))
        return np.sort(ends, axis=1).reshape(batch, 4).astype("int32")

    values = {
        "crop": rng.integers(-20, 21, (batch, 2)).astype("int32"),
        "flip": rng.integers(0, 2, batch).astype(bool),
        "affine": affine.astype(rng.choice(["float32", "float64"])),
        "colour": colour.astype(rng.choice(["float32", "float64"])),
        "tone": np.stack(
            [rng.integers(0, 257, batch), 2 ** rng.integers(0, 7, batch)], axis=1
        ).astype("float32"),
        "erase": boxes(),
        "partner": rng.integers(0, max(batch, 1), batch).astype("int32"),
        "share": rng.choice([0, 0.25, 0.7, 1], batch).astype("float32"),
        "box": boxes(),
        "index": rng.integers(0, max(stored, 1), batch).astype(rng.choice(["int32", "int64"])),
    }
    chosen = (given - {"mix"}) | (set(MIX) if "mix" in given else set())
    return {
        "images": rng.integers(0, 256, (stored, *shape)).astype(kind),
        "mean": rng.uniform(0, 255, channels),
        "std": rng.uniform(1, 80, channels),
        **{name: values[name] for name in POINTERS if name in chosen},
    }


def definition(
    case: dict[str, Any], dtype: str = "float64", channels: int | None = None
) -> NDArray[Any]:
    ctx = Context(get_device("numpy"))
    result: Any = AugmentedInput.run(ctx, **case, channels=channels, dtype=dtype)
    return np.asarray(result)


def size(case: dict[str, Any]) -> NDArray[np.float64]:
    """The size of the terms of each result, per channel."""
    largest = 2 * 255.0
    if "colour" in case:
        largest *= max(1.0, np.abs(case["colour"]).sum(-1).max(initial=0))
    return np.asarray((largest + np.abs(case["mean"])) / case["std"])


def run(
    ctx: Context, case: dict[str, Any], shift: int, dtype: str, channels: int | None
) -> NDArray[Any]:
    """Run the fused kernel on guarded arrays."""
    with guards(shift) as g:
        arrays = {name: g.input(array) for name, array in case.items()}
        result: Any = ours.FusedAugmentedInput.run(ctx, **arrays, channels=channels, dtype=dtype)
    return np.asarray(result)


@given(
    given_names, pixel_types, dtypes, sides, sides, channel_counts, st.integers(0, 4),
    st.sampled_from([None, 4, 8]), st.sampled_from([0, 1, 4]), seeds,
)  # fmt: skip
def test_every_combination(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    batch: int, wanted: int | None, shift: int, seed: int,
) -> None:  # fmt: skip
    case = draw(seed, given, kind, (height, width, channels), batch)
    found = run(ctx, case, shift, str(dtype), wanted)
    assert found.dtype == dtype
    assert found.shape == (batch, height, width, wanted or channels)
    assert not exactly(found[..., channels:]).any()
    exact = definition(case)
    assert_rounded(found[..., :channels], exact, magnitude=size(case), steps=24)


@given(
    st.sets(st.sampled_from(["crop", "flip", "erase", "index"])), pixel_types, dtypes, sides,
    sides, channel_counts, seeds,
)  # fmt: skip
def test_whole_places_are_exact(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    seed: int,
) -> None:  # fmt: skip
    """Without a warp or a colour: the very numbers of the definition, rounded once."""
    case = draw(seed, given, kind, (height, width, channels))
    found = run(ctx, case, 0, str(dtype), None)
    expected = definition(case, str(accumulator_of(dtype))).astype(dtype)
    assert found.tobytes() == expected.tobytes()


@given(
    given_names, pixel_types, dtypes, st.integers(1, 4), st.integers(1, 9), channel_counts,
    st.integers(1, 20), seeds,
)  # fmt: skip
def test_any_geometry_gives_the_same(
    ctx: Context, given: set[str], kind: str, dtype: Any, height: int, width: int, channels: int,
    threads: int, seed: int,
) -> None:  # fmt: skip
    case = draw(seed, given, kind, (height, width, channels))
    expected = run(ctx, case, 0, str(dtype), 4).tobytes()
    computed = str(accumulator_of(dtype))
    types = {"affine": "float64", "index": "int64"} | dict.fromkeys(
        ("colour", "tone", "share"), computed
    )
    with guards() as g:
        given_arrays = {
            name: g.input(case[name].astype(types.get(name, case[name].dtype)))
            if name in case
            else None
            for name in POINTERS
        }
        images, result = g.input(case["images"]), g.output((3, height, width, 4), dtype)
        ours.augmented_input(
            ctx, Launch((3 * height, 1, 1), (1, threads, 1)),
            (C_TYPES[str(dtype)], C_TYPES[kind], channels),
            images=images, mean=g.input(case["mean"]), deviation=g.input(case["std"]),
            **given_arrays, y=result, height=height, width=width, channels=4,
        )  # fmt: skip
    assert result.tobytes() == expected


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3])
def test_all_at_once(ctx: Context, kind: str, dtype: Any, channels: int) -> None:
    case = draw(7, set(NAMES) - {"tone"}, kind, (5, 6, channels), 4)
    found = run(ctx, case, 0, str(dtype), 8)[..., :channels]
    assert_rounded(found, definition(case), magnitude=size(case), steps=24)


def test_a_nan_stays_in_its_image_and_its_partner(ctx: Context) -> None:
    case = draw(3, {"colour", "tone", "mix"}, "float32", (3, 4, 3), 3)
    case["images"][1] = np.nan
    case |= {
        "partner": np.array([1, 0, 0], "int32"),
        "box": np.array([[0, 0, 3, 2], [0, 0, 0, 0], [0, 0, 3, 4]], "int32"),
        "share": np.array([0.5, 1, 0.5], "float32"),
    }
    found = run(ctx, case, 0, "float32", None)
    assert np.isnan(found[0, :, :2]).all()
    assert np.isfinite(found[0, :, 2:]).all()
    assert np.isnan(found[1]).all()
    assert np.isfinite(found[2]).all()


def test_what_the_kernel_does_not_take(ctx: Context) -> None:
    case = draw(5, {"mix", "erase"}, "uint8", (2, 3, 3))
    supports = ours.FusedAugmentedInput.supports
    assert supports(ctx, **case)
    for name in ("partner", "box", "erase"):
        assert not supports(ctx, **case | {name: case[name].astype("int64")})
    assert not supports(ctx, **case | {"images": case["images"].astype("float64")})
    assert not supports(ctx, **case, dtype="int32")
    two = draw(5, {"mix"}, "uint8", (2, 3, 2))
    assert not supports(ctx, **two)
    found = ctx.ops.augmented_input(**two, dtype="float64")
    assert np.array_equal(found, definition(two))
    with pytest.raises(UsageError, match="images of 3 channels do not fit 2"):
        ctx.ops.augmented_input(**case, channels=2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("step", [1, 4, 64])
def test_tones_of_every_value(ctx: Context, dtype: Any, step: int) -> None:
    """A row of all values, and a row for each of some thresholds."""
    thresholds = [0, 1, 100, 255, 256]
    images = np.tile(np.arange(256, dtype=np.uint8), (len(thresholds), 1))[:, None, :, None]
    tone = np.array([(threshold, step) for threshold in thresholds], "float32")
    case = {"images": images, "mean": np.zeros(1), "std": np.ones(1), "tone": tone}
    found = exactly(run(ctx, case, 0, str(dtype), None))[:, 0, :, 0]
    for threshold, row in zip(thresholds, found, strict=True):
        values = np.arange(256)
        values = np.where(values >= threshold, 255 - values, values) // step * step
        assert np.array_equal(row, values.astype(dtype).astype(float))
