"""What the library logs, such as that it compiles, as lines among those of the command."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .failures import fitted


class _Lines(logging.Handler):
    def __init__(self, say: Callable[[str], None], level: int) -> None:
        super().__init__(level)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(fitted(record.getMessage()))


@contextmanager
def library_lines(say: Callable[[str], None], *, quiet: bool = False) -> Iterator[None]:
    """Within the block `say` gets the library's warnings; with `quiet` only its errors."""
    logger = logging.getLogger("cpcnn")
    before = logger.handlers
    logger.handlers = [_Lines(say, logging.ERROR if quiet else logging.WARNING)]
    try:
        yield
    finally:
        logger.handlers = before
