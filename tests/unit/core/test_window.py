"""Output-size arithmetic, against sliding a window by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.window import Window, as_pair, as_sides, cropped, padded

pairs = st.tuples(st.integers(1, 4), st.integers(1, 4))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))
sizes = st.tuples(st.integers(1, 12), st.integers(1, 12))


def starts(
    size: int, kernel: int, stride: int, dilation: int, before: int, after: int
) -> list[int]:
    """Every place where a window can stand: the padded pixel of its first cell."""
    padded = before + size + after
    last_cell = (kernel - 1) * dilation
    return [start for start in range(0, padded, stride) if start + last_cell < padded]


@given(sizes, pairs, pairs, pairs, st.tuples(pads, pads))
def test_output_and_taps_are_those_of_a_sliding_window(
    size: Any, kernel: Any, stride: Any, dilation: Any, padding: Any
) -> None:
    places = [
        starts(size[axis], kernel[axis], stride[axis], dilation[axis], *padding[axis])
        for axis in (0, 1)
    ]
    if not (places[0] and places[1]):
        with pytest.raises(ShapeError, match="does not fit"):
            Window.fit(*size, kernel, stride, padding, dilation)
        return
    window = Window.fit(*size, kernel, stride, padding, dilation)
    assert window.output(*size) == (len(places[0]), len(places[1]))
    assert window.padded(*size) == tuple(s + sum(p) for s, p in zip(size, padding, strict=True))
    padded = window.padded(*size)
    cells = []
    for i, j, rows, columns in window.taps(*size):
        cells.append((i, j))
        assert list(range(padded[0]))[rows] == [start + i * dilation[0] for start in places[0]]
        assert list(range(padded[1]))[columns] == [start + j * dilation[1] for start in places[1]]
        assert rows.stop <= padded[0]
        assert columns.stop <= padded[1]
    assert cells == [(i, j) for i in range(kernel[0]) for j in range(kernel[1])]


@given(sizes, pairs, pairs, pairs)
def test_same_padding_is_the_one_of_keras(
    size: Any, kernel: Any, stride: Any, dilation: Any
) -> None:
    window = Window.fit(*size, kernel, stride, "same", dilation)
    assert window.output(*size) == tuple(
        math.ceil(s / step) for s, step in zip(size, stride, strict=True)
    )
    for axis, (before, after) in enumerate(window.padding):
        assert 0 <= after - before <= 1  # the odd pixel goes to the bottom and right
        extent = (kernel[axis] - 1) * dilation[axis] + 1
        outputs = window.output(*size)[axis]
        # no more than is needed for the last window
        assert before + after == max((outputs - 1) * stride[axis] + extent - size[axis], 0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "output"),
    [
        # TensorFlow's documented examples of "SAME"
        (13, 6, 5, (1, 2), 3),
        (2, 2, 2, (0, 0), 1),
        (3, 2, 2, (0, 1), 2),
        (224, 7, 2, (2, 3), 112),
        (5, 3, 1, (1, 1), 5),
        (5, 1, 3, (0, 0), 2),
    ],
)
def test_same_padding_examples(
    size: int, kernel: int, stride: int, padding: Any, output: int
) -> None:
    window = Window.fit(size, size, (kernel, kernel), (stride, stride), "same", (1, 1))
    assert window.padding == (padding, padding)
    assert window.output(size, size) == (output, output)


@pytest.mark.parametrize(
    ("padding", "resolved"),
    [
        ("valid", ((0, 0), (0, 0))),
        (0, ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        (((0, 1), 2), ((0, 1), (2, 2))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
    ],
)
def test_explicit_padding(padding: Any, resolved: Any) -> None:
    assert Window.fit(9, 9, (3, 3), (1, 1), padding, (1, 1)).padding == resolved


@pytest.mark.parametrize(
    "padding", ["full", "", -1, 1.5, None, (1, 2, 3), (1, -2), ((1,), (2,)), ("same", 1), (None, 1)]
)
def test_padding_that_cannot_be_meant(padding: Any) -> None:
    with pytest.raises(UsageError, match="padding must be"):
        Window.fit(9, 9, (3, 3), (1, 1), padding, (1, 1))


def test_a_window_that_does_not_fit_names_both_sizes() -> None:
    with pytest.raises(ShapeError, match=r"5×7 window .* 4×20 pixels") as caught:
        Window.fit(4, 20, (3, 7), (1, 1), "valid", (2, 1))
    assert "same" in caught.value.suggestion


@pytest.mark.parametrize("value", [3, (3, 3), [3, 3]])
def test_one_number_stands_for_both_axes(value: Any) -> None:
    assert as_pair(value, "strides") == (3, 3)


@pytest.mark.parametrize(
    "value", [0, -1, 1.0, None, "33", True, (1,), (1, 2, 3), (1, 0), (1, None)]
)
def test_a_pair_is_one_or_two_positive_integers(value: Any) -> None:
    with pytest.raises(UsageError, match="strides must be an integer or two"):
        as_pair(value, "strides")


@given(sizes, pairs, pairs, pairs, st.tuples(pads, pads), st.data())
def test_a_transposed_window_leads_back_from_its_output(
    size: Any, kernel: Any, stride: Any, dilation: Any, counts: Any, data: Any
) -> None:
    """Its convolution has a window for every pixel, and no window misses the padded output."""
    padding = data.draw(st.sampled_from(["valid", "same", counts]))
    extra = data.draw(st.none() | st.tuples(*(st.integers(0, step - 1) for step in stride)))
    try:
        window, output = Window.fit_transposed(*size, kernel, stride, padding, dilation, extra)
    except ShapeError:
        assert padding == counts or (padding == "same" and 0 in extra)
        return
    assert window.output(*output) == size
    for axis, (before, after) in enumerate(window.padding):
        whole = (size[axis] - 1) * stride[axis] + window.extent[axis]
        spread = before + output[axis] + after - whole  # what the last window leaves over
        assert 0 <= spread < stride[axis]
        if padding == "same":
            assert 0 <= after - before <= 1
            expected = size[axis] * stride[axis]
            if extra:
                expected += window.extent[axis] % 2 + extra[axis] - stride[axis]
            assert output[axis] == expected
        elif extra:
            assert spread == extra[axis]
        elif padding == "valid":
            assert output[axis] == max(whole, size[axis] * stride[axis])


def test_a_transposed_window_that_leaves_nothing_names_both_sizes() -> None:
    with pytest.raises(ShapeError, match=r"3×3 window makes 0×4 pixels of an input of 2×6"):
        Window.fit_transposed(2, 6, (3, 3), (1, 1), 2, (1, 1), None)


@pytest.mark.parametrize("value", ["full", -1, 1.5, None, (1, 2, 3), (1, -2), True])
def test_sides_are_pixel_counts(value: Any) -> None:
    with pytest.raises(UsageError, match="border must be"):
        as_sides(value, "border")
    assert as_sides((1, (0, 2)), "border") == ((1, 1), (0, 2))


def test_sizes_with_and_without_a_border() -> None:
    assert padded(4, 5, ((1, 2), (0, 3))) == (7, 8)
    assert cropped(4, 5, ((1, 2), (0, 3))) == (1, 2)
    with pytest.raises(ShapeError, match="leaves nothing of an input of 4×5"):
        cropped(4, 5, ((1, 3), (0, 0)))


def test_pointwise_windows() -> None:
    assert Window((1, 1)).is_pointwise
    assert not Window((1, 1), stride=(2, 1)).is_pointwise
    assert not Window((1, 1), padding=((1, 0), (0, 0))).is_pointwise
    assert not Window((3, 1)).is_pointwise
