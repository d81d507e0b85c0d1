"""Ctrl-C while training: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from .failures import INTERRUPTED

_SHOW_CURSOR = b"\x1b[?25h"
_ANNOUNCEMENT = b"\nStopping after this step; press Ctrl-C again to stop at once.\n"


@contextmanager
def orderly_interrupt(request_stop: Callable[[], None]) -> Iterator[None]:
    """Within the block the first SIGINT calls `request_stop` and the second one exits with 130."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, leave)
        request_stop()
        _write(_ANNOUNCEMENT)

    def leave(number: int, frame: FrameType | None) -> None:
        if os.isatty(2):
            _write(_SHOW_CURSOR + b"\n")
        os._exit(INTERRUPTED)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _write(text: bytes) -> None:
    # Below the buffers of Python and Rich, which may be in the middle of a write themselves.
    with suppress(OSError):
        os.write(2, text)
