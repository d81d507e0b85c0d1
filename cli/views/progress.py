"""The moving line at the bottom of a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ..streams import Streams

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

ROOM_FOR_A_BAR = 72  # columns


def is_live(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


@contextmanager
def live_progress() -> Iterator[Progress]:
    """Show progress on stderr while the block runs; the line disappears with it."""
    from rich.console import Console
    from rich.progress import Progress

    from ..library_lines import library_lines

    console = Console(stderr=True)

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    progress = Progress(
        *(_columns() if console.width >= ROOM_FOR_A_BAR else _narrow_columns()),
        console=console,
        refresh_per_second=5,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with progress, library_lines(say):
        yield progress


def _columns() -> list[ProgressColumn]:
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return [
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(compact=True),
    ]


def _narrow_columns() -> list[ProgressColumn]:
    """One text, which is cut at its end, so that the most important comes first."""
    from rich.progress import TextColumn

    text = "{task.description} {task.percentage:>3.0f}% {task.fields[status]}"
    return [TextColumn(text, markup=False)]


class MovingTask:
    """One moving line that takes on whatever is being done, and leaves when it is complete."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None

    def move(self, activity: str, done: int, total: int, status: str = "") -> None:
        """Show that `done` of `total` is done."""
        if self._task is None:
            self._task = self._progress.add_task(activity, total=total, status=status)
        self._progress.update(
            self._task, description=activity, completed=done, total=total, status=status
        )
        if done >= total:
            self.clear()

    def clear(self) -> None:
        """Take the line away."""
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._progress.refresh()
            self._task = None


@contextmanager
def task_progress(
    streams: Streams, stream: TextIO
) -> Iterator[Callable[[str, int, int], None] | None]:
    """Give a function that shows (activity, done, total), or None where there is nobody to see."""
    if streams.quiet or not is_live(stream):
        yield None
    else:
        with live_progress() as progress:
            yield MovingTask(progress).move
