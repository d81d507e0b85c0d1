"""A result that is written piece by piece, to stdout or into a new file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import click

from cpcnn.core.errors import UsageError


class ResultFile:
    """Takes text, and writes it to stdout, or in UTF-8 into a file that did not exist before.

    Names in the text that are not UTF-8 keep their bytes. When an error ends the block before
    anything was written, the file is removed again. UsageError if the file exists or cannot be
    written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> ResultFile:
        if self._path is not None:
            try:
                self._file = self._path.open("xb")
            except FileExistsError:
                raise UsageError(
                    f"The output {self._path} exists.",
                    suggestion="Nothing is ever overwritten: choose a new file.",
                ) from None
            except OSError as error:
                raise self._cannot_write(error) from error
        return self

    def write(self, text: str) -> None:
        """Write a text, with the ends of lines that it has."""
        content = text.encode("utf-8", "surrogateescape")
        if self._file is None:
            click.echo(text if content.isascii() or _is_text(text) else content, nl=False)
            return
        try:
            self._file.write(content)
        except OSError as error:
            raise self._cannot_write(error) from error

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._file is None or self._path is None:
            return
        try:
            empty = self._file.tell() == 0
            self._file.close()
        except OSError as failure:
            raise self._cannot_write(failure) from failure
        if empty and error is not None:
            self._path.unlink(missing_ok=True)

    def _cannot_write(self, error: OSError) -> UsageError:
        return UsageError(
            f"Cannot write {self._path}: {error.strerror or error}.",
            suggestion="Choose another file with --output.",
        )


def _is_text(text: str) -> bool:
    """Say whether a text has no bytes in it that are not UTF-8."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
