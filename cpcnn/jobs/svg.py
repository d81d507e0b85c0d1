"""A small writer of SVG: shapes and text with the same bytes for the same picture.

A picture follows the reader's light or dark colours. It is one file that loads nothing. Texts may
hold anything: they are made printable, escaped, and never leave their element.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Iterable

from .printable import printable

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"
LIGHT = {
    "page": "#ffffff",
    "ink": "#1f2328",
    "quiet": "#59636e",
    "grid": "#d8dee4",
    "first": "#1d4ed8",
    "second": "#c2410c",
}
DARK = {
    "page": "#0d1117",
    "ink": "#e6edf3",
    "quiet": "#9198a1",
    "grid": "#30363d",
    "first": "#6ea8fe",
    "second": "#fb923c",
}
# of what a text is wide, in parts of its size: most letters, and those of East Asia
LETTER, WIDE_LETTER = 0.6, 1.05


class Picture:
    """An SVG picture of a size in pixels. Colours are named: page, ink, quiet, grid, first, second.

    `title` is what a screen reader says.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width, self.height = width, height
        self.title = title
        self._parts: list[str] = []

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: str,
        *,
        opacity: float = 1.0,
        tip: str = "",
    ) -> None:
        """Draw a filled rectangle; `tip` is shown when the pointer rests on it."""
        shade = "" if opacity == 1 else f' fill-opacity="{_number(opacity)}"'
        place = f'x="{_number(x)}" y="{_number(y)}" width="{_number(width)}"'
        self._add(f'rect class="{colour}" {place} height="{_number(height)}"{shade}', "rect", tip)

    def circle(self, x: float, y: float, radius: float, colour: str) -> None:
        """Draw a filled circle."""
        place = f'cx="{_number(x)}" cy="{_number(y)}" r="{_number(radius)}"'
        self._add(f'circle class="{colour}" {place}', "circle")

    def line(
        self,
        points: Iterable[tuple[float, float]],
        colour: str,
        *,
        width: float = 1.0,
        dashed: bool = False,
    ) -> None:
        """Draw a line through points."""
        places = " ".join(f"{_number(x)},{_number(y)}" for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        style = f'stroke-width="{_number(width)}"{dashes}'
        self._add(f'polyline class="l {colour}" points="{places}" {style}', "polyline")

    def text(
        self,
        x: float,
        y: float,
        content: str,
        colour: str = "ink",
        *,
        size: float = 12,
        anchor: str = "start",
        upwards: bool = False,
        bold: bool = False,
        room: float = 0,
    ) -> None:
        """Write a line of text; what is longer than `room` loses its middle, and has it as a tip.

        `anchor` is start, middle or end; `upwards` turns it to be read from below.
        """
        shown = fitted(content, room, size) if room else printable(content)
        turn = f' transform="rotate(-90 {_number(x)} {_number(y)})"' if upwards else ""
        weight = ' font-weight="bold"' if bold else ""
        place = f'x="{_number(x)}" y="{_number(y)}" font-size="{_number(size)}"'
        style = f'class="{colour}" text-anchor="{anchor}"{weight}{turn}'
        tip = content if shown != printable(content) else ""
        self._add(f"text {place} {style}", "text", tip, shown)

    def render(self) -> str:
        """Return the picture as the text of a file."""
        width, height = _number(self.width), _number(self.height)
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img" font-family="{FONT}">'
        )
        page = f'<rect class="page" width="{width}" height="{height}"/>'
        title = f"<title>{_escaped(self.title)}</title>"
        return "\n".join([head, title, _style(), page, *self._parts, "</svg>", ""])

    def _add(self, opening: str, element: str, tip: str = "", content: str = "") -> None:
        inside = (f"<title>{_escaped(tip)}</title>" if tip else "") + _escaped(content)
        self._parts.append(f"<{opening}>{inside}</{element}>" if inside else f"<{opening}/>")


def text_width(text: str, size: float) -> float:
    """Return about how many pixels wide a text is; fonts differ."""
    return size * sum(map(_letter_width, text))


def fitted(text: str, room: float, size: float) -> str:
    """Return a printable text that is about `room` pixels wide at most, its middle left out."""
    text = printable(text)
    if text_width(text, size) <= room:
        return text
    half = (room - text_width("…", size)) / 2
    return f"{_start(text, half, size)}…{_start(text[::-1], half, size)[::-1]}"


def _start(text: str, room: float, size: float) -> str:
    used = 0.0
    for position, letter in enumerate(text):
        used += text_width(letter, size)
        if used > room:
            return text[:position]
    return text


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0
    return WIDE_LETTER if unicodedata.east_asian_width(letter) in "WF" else LETTER


def _escaped(text: str) -> str:
    return html.escape(printable(text))


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _style() -> str:
    dark = _colours(DARK)
    return (
        f"<style>.l{{fill:none!important;stroke-linejoin:round}}{_colours(LIGHT)}"
        f"@media(prefers-color-scheme:dark){{{dark}}}</style>"
    )


def _colours(colours: dict[str, str]) -> str:
    return "".join(f".{name}{{fill:{c}}}.l.{name}{{stroke:{c}}}" for name, c in colours.items())
