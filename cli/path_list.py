"""A list of paths on standard input, as another program makes it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import BinaryIO

from cpcnn.core.errors import UsageError

CHUNK = 1 << 16  # bytes


def listed_paths(*, null: bool) -> Iterator[str]:
    """Yield the paths on standard input, one a line, or each before a NUL byte (`find -print0`).

    They are read as they are asked for. UsageError when what comes is no list of lines.
    """
    stream = sys.stdin.buffer
    for entry in _separated(stream, b"\0") if null else _lines(stream):
        if entry:
            yield os.fsdecode(entry)


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        if b"\0" in line:
            raise UsageError(
                "Standard input is not a list of paths, one a line: it holds NUL bytes.",
                suggestion="Give -0 if NUL bytes separate the paths, as in "
                "`find … -print0 | cpcnn predict -0 -`. An image itself cannot be piped: name "
                "its file.",
            )
        yield line.rstrip(b"\r\n")


def _separated(stream: BinaryIO, separator: bytes) -> Iterator[bytes]:
    rest = b""
    while chunk := stream.read1(CHUNK):  # type: ignore[attr-defined]
        *entries, rest = (rest + chunk).split(separator)
        yield from entries
    yield rest
