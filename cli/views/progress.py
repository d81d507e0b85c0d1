"""The moving line at the bottom of a terminal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from ..streams import Streams

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


def is_live(stream: TextIO) -> bool:
    """Say whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


@contextmanager
def live_progress() -> Iterator[Progress]:
    """Show progress on stderr while the block runs; the line disappears with it."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10),
        TaskProgressColumn(),
        TextColumn("{task.fields[status]}", markup=False),
        TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        refresh_per_second=5,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as progress:
        yield progress


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
