"""Where lines of a source come from: NVRTC sees one text, people edit several files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from cpcnn.devices.cuda import kernel


class Line(NamedTuple):
    """A line of the text that is compiled, and its place in the file that it stands in."""

    file: str
    number: int
    text: str


def lines(file: str, seen: set[str] | None = None) -> Iterator[Line]:
    """Yield the lines of `read_source(file)`, where an include becomes what it includes."""
    seen = set() if seen is None else seen
    seen.add(file)
    texts = (kernel.FOLDER / file).read_text("utf-8").split("\n")
    for number, text in enumerate(texts, start=1):
        include = re.fullmatch(r'#include "([^"]+)"', text)
        if include is None:
            yield Line(file, number, text)
        elif include[1] in seen:
            yield Line(file, number, "")
        else:
            yield from lines(include[1], seen)


def located(log: str, file: str) -> str:
    """Return a log of compiling a file in which every place is the one to edit."""
    places = list(lines(file))

    def place(found: re.Match[str]) -> str:
        line = places[int(found[1]) - 1]
        return f"{line.file}:{line.number}:"

    return re.sub(rf"\b{re.escape(file)}\((\d+)\):", place, log)
