"""Ctrl-C while training: the first asks for an orderly end, the second ends at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

from .failures import INTERRUPTED

_SHOW_CURSOR = b"\x1b[?25h"
_ANNOUNCEMENT = b"\nStopping after this step; press Ctrl-C again to stop at once.\n"


@contextmanager
def orderly_interrupt(request_stop: Callable[[], None]) -> Iterator[None]:
    """Within the block the first SIGINT calls `request_stop` and the second one exits with 130.

    A thread of its own hears the signals: the main thread may be deep in a matrix product, and
    Python would tell it of both only afterwards, as of one.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    listener = Thread(target=_listen, args=(reader, request_stop), name="ctrl-c", daemon=True)
    handler = signal.signal(signal.SIGINT, lambda number, frame: None)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGINT, handler)
        os.close(writer)
        listener.join()
        os.close(reader)


def _listen(reader: int, request_stop: Callable[[], None]) -> None:
    """Read the numbers of signals, a byte each, until the pipe is closed."""
    interrupts = 0
    while number := os.read(reader, 1):
        if number[0] != signal.SIGINT:
            continue
        interrupts += 1
        if interrupts > 1:
            _leave()
        request_stop()
        _write(_ANNOUNCEMENT)


def _leave() -> None:
    if os.isatty(2):
        _write(_SHOW_CURSOR + b"\n")
    os._exit(INTERRUPTED)


def _write(text: bytes) -> None:
    # Below the buffers of Python and Rich, which may be in the middle of a write themselves.
    with suppress(OSError):
        os.write(2, text)
