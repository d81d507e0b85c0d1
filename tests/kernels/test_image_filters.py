"""Passes over stored images: `image_filters.cu` on its own source, against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from emulation import guards
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding import seeds

from cpcnn.core.context import Context
from cpcnn.devices import get_device
from cpcnn.devices.cuda import image_filters as ours
from cpcnn.devices.cuda.element_types import C_TYPES
from cpcnn.devices.cuda.geometry import Launch
from cpcnn.ops.image_filters import FilterImages, MeanColour

sides = st.integers(1, 9)
channel_counts = st.integers(1, 5)
told = st.tuples(st.booleans(), st.booleans(), st.sampled_from([0, 26, 256, 300, 486]))


def draw(
    seed: int, kind: str, shape: tuple[int, ...], values: int, gathers: bool
) -> tuple[NDArray[Any], dict[str, Any]]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, values, shape).astype(kind)
    index = rng.integers(0, shape[0], 4).astype(rng.choice(["int32", "int64"]))
    return images, {"index": index} if gathers else {}


@given(
    st.integers(1, 4), sides, sides, channel_counts, st.lists(told, min_size=4, max_size=4),
    st.integers(1, 256), st.booleans(), st.sampled_from([0, 1]), seeds,
)  # fmt: skip
def test_filters(
    ctx: Context, n: int, height: int, width: int, channels: int, told: Any, values: int,
    gathers: bool, shift: int, seed: int,
) -> None:  # fmt: skip
    images, given = draw(seed, "uint8", (n, height, width, channels), values, gathers)
    wanted = np.array(told[: 4 if gathers else n], "int32")
    expected: Any = FilterImages.run(Context(get_device("numpy")), images, wanted, **given)
    with guards(shift) as g:
        found: Any = ours.TabledFilterImages.run(
            ctx, g.input(images), g.input(wanted), **{k: g.input(v) for k, v in given.items()}
        )
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)


@given(sides, sides, st.integers(1, 4), st.integers(1, 8), st.integers(1, 8), seeds)
def test_any_geometry_gives_the_same(
    ctx: Context, height: int, width: int, channels: int, x: int, y: int, seed: int
) -> None:
    images, _ = draw(seed, "uint8", (2, height, width, channels), 256, False)
    wanted = np.array([(1, 1, 400), (0, 0, 0)], "int32")
    expected: Any = FilterImages.run(Context(get_device("numpy")), images, wanted)
    with guards() as g:
        stored, settings = g.input(images), g.input(wanted)
        tables = g.output((2, channels, 256), "uint8")
        ours.tone_tables(
            ctx, Launch((2 * channels, 1, 1), (256, 1, 1)), ours.BYTES, images=stored,
            settings=settings, index=None, tables=tables, pixels=height * width, channels=channels,
        )  # fmt: skip
        result = g.output(images.shape, "uint8")
        ours.look_up_and_sharpen(
            ctx, Launch((2 * height, 1, 1), (x, y, 1)), ours.BYTES, images=stored,
            settings=settings, index=None, tables=tables, y=result, height=height, width=width,
            channels=channels,
        )  # fmt: skip
    assert np.array_equal(result, expected)


@given(
    st.sampled_from(["uint8", "float32"]), st.integers(1, 4), sides, st.sampled_from([1, 6, 150]),
    st.sampled_from([1, 2, 3, 130]), st.booleans(), st.sampled_from([0, 1]), seeds,
)  # fmt: skip
def test_means(
    ctx: Context, kind: str, n: int, height: int, width: int, channels: int, gathers: bool,
    shift: int, seed: int,
) -> None:  # fmt: skip
    images, given = draw(seed, kind, (n, height, width, channels), 256, gathers)
    expected: Any = MeanColour.run(Context(get_device("numpy")), images, **given)
    with guards(shift) as g:
        found: Any = ours.BlockMeanColour.run(
            ctx, g.input(images), **{name: g.input(array) for name, array in given.items()}
        )
    assert found.dtype == np.float32
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("x", [1, 2, 3])
@pytest.mark.parametrize("y", [1, 5, 64])
def test_means_in_any_block(ctx: Context, x: int, y: int) -> None:
    images, _ = draw(x, "uint8", (3, 7, 5, x), 256, False)
    expected: Any = MeanColour.run(Context(get_device("numpy")), images)
    with guards() as g:
        means = g.output((3, x), "float32")
        ours.mean_colour(
            ctx, Launch((3, 1, 1), (x, y, 1)), (C_TYPES["uint8"],), images=g.input(images),
            index=None, means=means, pixels=35, channels=x,
        )  # fmt: skip
    assert np.array_equal(means, expected)


def test_what_the_kernels_do_not_take(ctx: Context) -> None:
    images, _ = draw(0, "float64", (2, 3, 3, 1), 256, False)
    wanted = np.array([(1, 0, 256)] * 2, "int32")
    assert not ours.BlockMeanColour.supports(ctx, images)
    assert not ours.TabledFilterImages.supports(ctx, images, wanted)
    for empty in (images.astype("uint8")[:0], images.astype("uint8")[:, :0]):
        assert not ours.TabledFilterImages.supports(ctx, empty, wanted)
        assert ctx.ops.filter_images(empty, wanted[: len(empty)]).shape == empty.shape
    many = np.zeros((1, 2, 2, 257), "uint8")
    assert not ours.BlockMeanColour.supports(ctx, many)
    assert ctx.ops.mean_colour(many).shape == (1, 257)


@pytest.mark.parametrize("seed", range(4))
def test_filters_of_images_with_many_pixels(ctx: Context, seed: int) -> None:
    """More than 255: only then does equalize do something."""
    images, _ = draw(seed, "uint8", (4, 21, 30, 3), 60, False)
    images = images + np.uint8(50)
    wanted = np.array([(1, 1, 256), (1, 0, 400), (0, 1, 100), (1, 1, 30)], "int32")
    expected: Any = FilterImages.run(Context(get_device("numpy")), images, wanted)
    assert all((expected[n] != images[n]).any() for n in range(4))
    assert np.array_equal(ctx.ops.filter_images(images, wanted), expected)
