"""The pictures of a run: what they say, and that nothing in a name can break them."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpcnn.core.errors import UsageError
from cpcnn.evaluate.report import ClassificationReport
from cpcnn.jobs.figures import (
    CONFUSION_FIGURE,
    CURVES,
    confusion_svg,
    curves_svg,
    nice_ticks,
    write_confusion,
    write_curves,
)
from cpcnn.jobs.printable import printable
from cpcnn.jobs.svg import DARK, LIGHT, Picture, fitted, text_width

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = (
    "<script>alert(1)</script>",
    "a & b",
    "\"double\" and 'single'",
    "line\nbreak\x00\x1b[31m",
    "\u202eturned round",
    "שלום עולם",
    "漢字の長い名前" * 9,
    "x" * 60,
    "not UTF-8 \udcff",
    "]]>",
)


def parsed(picture: str) -> Any:
    picture.encode("utf-8")
    return ElementTree.fromstring(picture)


def texts(root: Any) -> list[str]:
    """What is written, without the tips."""
    return [
        (element.text or "") + "".join(tip.tail or "" for tip in element)
        for element in root.iter(f"{SVG}text")
    ]


def tips(root: Any) -> list[str]:
    return [element.findtext(f"{SVG}title") or "" for element in root.iter(f"{SVG}rect")]


def epoch(number: int, loss: object, accuracy: object, best: int = 0) -> dict[str, str]:
    row = {
        "epoch": number,
        "train_loss": loss,
        "train_accuracy": accuracy,
        "validation_loss": loss,
        "validation_accuracy": accuracy,
        "best": best,
    }
    return {name: str(value) for name, value in row.items()}


def report(names: tuple[str, ...], images: int = 100, seed: int = 0) -> ClassificationReport:
    rng = np.random.default_rng(seed)
    counts = np.zeros((len(names), len(names)), np.int64)
    np.add.at(counts, tuple(rng.integers(0, len(names), (2, images))), 1)
    return ClassificationReport(names, counts)


# --- curves -------------------------------------------------------------------------------


def test_curves_have_a_line_for_training_and_one_for_validation() -> None:
    history = [epoch(1, 1.5, 0.4, 1), epoch(2, 1.0, 0.6, 1), epoch(3, 1.2, 0.5)]
    root = parsed(curves_svg(history))
    assert {"training", "validation", "Loss", "Accuracy", "best epoch: 2"} <= set(texts(root))
    lines = [line.get("class") for line in root.iter(f"{SVG}polyline") if line.get("class")]
    curves = [
        line
        for line in root.iter(f"{SVG}polyline")
        if line.get("class") in ("l first", "l second") and line.get("points", "").count(" ") == 2
    ]
    assert lines.count("l first") == lines.count("l second") == 3  # legend, loss, accuracy
    assert len(curves) == 4
    xs, ys = zip(*(map(float, p.split(",")) for p in curves[0].get("points").split()), strict=True)
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1])
    assert ys[1] > ys[2] > ys[0]  # the lower the loss, the lower on the page


def test_without_validation_there_is_one_curve() -> None:
    rows = [epoch(n, 1 / n, 1 - 1 / n) for n in (1, 2)]
    for row in rows:
        row["validation_loss"] = row["validation_accuracy"] = ""
    root = parsed(curves_svg(rows))
    assert "validation" not in texts(root)
    assert not [line for line in root.iter() if "second" in line.get("class", "")]


def test_one_epoch_is_a_point() -> None:
    root = parsed(curves_svg([epoch(1, 0.7, 0.5, 1)]))
    assert len(list(root.iter(f"{SVG}circle"))) == 4
    assert "nan" not in curves_svg([epoch(1, 0.7, 0.5, 1)])


def test_a_missing_value_is_a_gap() -> None:
    rows = [epoch(n, loss, 0.5) for n, loss in enumerate((3, 2, "nan", 1, 1), 1)]
    root = parsed(curves_svg(rows))
    losses = [line for line in root.iter(f"{SVG}polyline") if line.get("class") == "l first"]
    assert [line.get("points").count(",") for line in losses] == [2, 2, 2, 5]


@given(
    st.lists(st.tuples(st.floats(allow_nan=True), st.floats(0, 1)), min_size=1, max_size=60).map(
        lambda values: [epoch(n, *value) for n, value in enumerate(values, 1)]
    )
)
def test_any_history_stays_on_the_page(history: list[dict[str, str]]) -> None:
    picture = curves_svg(history)
    assert picture == curves_svg(history)
    root = parsed(picture)
    width, height = float(root.get("width")), float(root.get("height"))
    for circle in root.iter(f"{SVG}circle"):
        assert 0 <= float(circle.get("cx")) <= width
        assert 0 <= float(circle.get("cy")) <= height


@given(st.floats(-1e30, 1e30), st.floats(0, 1e30), st.booleans())
def test_ticks_are_round_and_cover_the_values(low: float, span: float, bounded: bool) -> None:
    high = low + span
    highest = max(high, 1.0) if bounded else math.inf
    ticks = nice_ticks(low, high, highest)
    assert 3 <= len(ticks) <= 9
    step = ticks[1] - ticks[0]
    assert step > 0
    slack = 1e-6 * step
    assert ticks[0] <= low + slack
    assert high <= ticks[-1] + slack


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.13, 2.15, [0, 0.5, 1, 1.5, 2, 2.5]),
        (0.95, 1.0, [0.95, 0.96, 0.97, 0.98, 0.99, 1.0]),
        (1.0, 1.0, [0.6, 0.8, 1.0]),
    ],
)
def test_the_ticks_of_common_ranges(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high, 1.0 if high <= 1 else math.inf) == pytest.approx(expected)


def test_curves_of_a_run(tmp_path: Path) -> None:
    write_curves(tmp_path)
    assert not (tmp_path / CURVES).exists()  # there is no history
    names = list(epoch(1, 1, 1))
    rows = [",".join(epoch(n, 1 / n, 0.5).values()) for n in (1, 2)]
    (tmp_path / "history.csv").write_text("\n".join([",".join(names), *rows]) + "\n")
    write_curves(tmp_path)
    assert "2" in texts(parsed((tmp_path / CURVES).read_text("utf-8")))
    (tmp_path / CURVES).unlink()
    (tmp_path / CURVES).mkdir()
    with pytest.raises(UsageError, match=r"Cannot write .*curves\.svg"):
        write_curves(tmp_path)


# --- confusion matrices -------------------------------------------------------------------


def test_a_matrix_has_its_counts_and_tells_them() -> None:
    counts = np.array([[90, 10], [0, 50]])
    root = parsed(confusion_svg(ClassificationReport(("cat", "dog"), counts)))
    assert [text for text in texts(root) if text.isdigit()] == ["90", "10", "50"]
    assert {"cat → cat: 90 of 100", "cat → dog: 10 of 100", "dog → dog: 50 of 50"} <= set(
        tips(root)
    )
    assert "150 images, accuracy 0.9333. Shade: share of the row" in texts(root)
    shades = [
        (cell.get("class"), float(cell.get("fill-opacity", "1")))
        for cell in root.iter(f"{SVG}rect")
        if cell.get("class") != "page"
    ]
    assert [colour for colour, _ in shades] == ["first", "second", "first"]
    assert shades[1][1] < shades[0][1] < shades[2][1] == 1


@pytest.mark.parametrize("number", [2, 12, 30, 31, 200])
def test_any_number_of_classes(number: int) -> None:
    names = tuple(f"class {n}" for n in range(number))
    picture = confusion_svg(report(names, 3 * number))
    root = parsed(picture)
    assert sum(name in texts(root) for name in names) == number
    assert any(text.isdigit() for text in texts(root)) == (number <= 30)
    width, height = float(root.get("width")), float(root.get("height"))
    for cell in root.iter(f"{SVG}rect"):
        assert float(cell.get("x", 0)) + float(cell.get("width")) <= width
        assert float(cell.get("y", 0)) + float(cell.get("height")) <= height
    rows = sorted({float(e.get("y")) for e in root.iter(f"{SVG}text") if e.text in names[:2]})
    size = float(next(e for e in root.iter(f"{SVG}text") if e.text == names[0]).get("font-size"))
    assert rows[-1] - rows[-2] > size  # labels do not overlap
    assert len(picture) < 1_000_000


def test_hostile_names() -> None:
    picture = confusion_svg(report(HOSTILE))
    root = parsed(picture)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "style", "rect", "polyline", "text",
    }  # fmt: skip
    assert "<script" not in picture
    assert "\u202e" not in picture
    assert "\x1b" not in picture
    for name in HOSTILE:
        told = [printable(name) in tip for tip in tips(root)]
        assert any(told), name
    shown = texts(root)
    assert "a & b" in shown
    assert r"line\nbreak\x00\x1b[31m" in shown
    assert r"not UTF-8 \udcff" in shown
    assert max(text_width(text, 12) for text in shown[4:24]) <= 180


@given(st.lists(st.text(min_size=1, max_size=60), min_size=2, max_size=6, unique=True))
def test_any_names(names: list[str]) -> None:
    picture = confusion_svg(report(tuple(names), 20))
    assert picture == confusion_svg(report(tuple(names), 20))
    tags = {element.tag.removeprefix(SVG) for element in parsed(picture).iter()}
    assert tags <= {"svg", "title", "style", "rect", "polyline", "text"}


def test_a_matrix_beside_a_report(tmp_path: Path) -> None:
    write_confusion(tmp_path, report(HOSTILE))
    parsed((tmp_path / CONFUSION_FIGURE).read_text("utf-8"))
    with pytest.raises(UsageError, match="Cannot write"):
        write_confusion(tmp_path / "missing", report(HOSTILE))


# --- the writer ---------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ink", "quiet", "first", "second"])
def test_colours_can_be_read(colours: dict[str, str], name: str) -> None:
    light, dark = sorted((luminance(colours[name]), luminance(colours["page"])), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5  # what WCAG 2 asks of text


def test_both_palettes_are_in_a_picture() -> None:
    picture = Picture(10, 10, "a title").render()
    light, dark = picture.split("@media(prefers-color-scheme:dark)")
    assert all(colour in light for colour in LIGHT.values())
    assert all(colour in dark for colour in DARK.values())
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", picture)  # loads nothing


@given(st.text(max_size=80), st.floats(20, 200), st.sampled_from([9.0, 12.0]))
def test_fitted_texts_fit(text: str, room: float, size: float) -> None:
    shown = fitted(text, room, size)
    assert text_width(shown, size) <= room
    if text_width(printable(text), size) <= room:
        assert shown == printable(text)
    else:
        head, _, tail = shown.partition("…")
        assert printable(text).startswith(head)
        assert printable(text).endswith(tail)
