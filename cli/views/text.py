"""Text for a terminal: class and file names come from strangers and may hold anything."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import wrap

from cpcnn.jobs.events import BadFile
from cpcnn.jobs.printable import printable

__all__ = [
    "bad_file_lines",
    "columns",
    "counted",
    "hung",
    "listed",
    "printable",
    "printable_lines",
    "quoted",
    "shorten",
]

BAD_FILES_SHOWN = 5
WIDTH = 80


def columns() -> int:
    """Return how wide a result may be: 80 columns, fewer on a terminal that is narrower."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(WIDTH, shutil.get_terminal_size().columns)


def hung(head: str, text: str) -> list[str]:
    """Return a text wrapped beside its head; commands in it break between words only."""
    room = max(columns() - len(head), 20)
    body = wrap(printable(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    return [head + body[0], *(" " * len(head) + line for line in body[1:])]


def printable_lines(text: str) -> str:
    """Return a text of several lines with each line made printable."""
    return "\n".join(printable(line) for line in text.split("\n"))


def shorten(text: str, width: int) -> str:
    """Return a printable text of at most so many characters, its middle left out."""
    text = printable(text)
    if len(text) <= width:
        return text
    head = (width - 1) // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def quoted(path: Path) -> str:
    """Return a path as one can paste it into a shell."""
    return printable(shlex.quote(str(path)))


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun: `1 image`, `2 images`, `1,200 images`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """Return the first names, printable, and how many more there are."""
    shown = ", ".join(shorten(name, 40) for name in names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def bad_file_lines(bad_files: Sequence[BadFile]) -> Iterator[str]:
    """Yield how many files were skipped, and the first of them with their reasons."""
    if not bad_files:
        return
    yield f"Skipped {counted(len(bad_files), 'unreadable file')}:"
    for bad in bad_files[:BAD_FILES_SHOWN]:
        yield f"  {printable(f'{bad.path}: {bad.reason}')}"
    if len(bad_files) > BAD_FILES_SHOWN:
        yield f"  and {len(bad_files) - BAD_FILES_SHOWN:,} more"
