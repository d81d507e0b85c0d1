"""Who writes where: results and JSON on stdout, everything for the eyes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from typing import Any

import click

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Streams:
    """Where a command writes: `say` is for people; `result` and `document` are the outcome."""

    json: bool = False
    quiet: bool = False

    def say(self, text: str = "") -> None:
        """Write a line for people to stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def result(self, text: str) -> None:
        """Write a result to stdout, unless a JSON document will carry it."""
        if not self.json:
            click.echo(text)

    def document(self, content: dict[str, Any]) -> None:
        """Write the JSON document, if one was asked for."""
        if self.json:
            print_json(content)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """Surround work: what is printed meanwhile does not get between the results.

        With a document on stdout it goes to stderr, and the library's warnings are lines for
        people anyway.
        """
        from .library_lines import library_lines

        elsewhere = redirect_stdout(sys.stderr) if self.json else nullcontext()
        with library_lines(self._warn, quiet=self.quiet), elsewhere:
            yield

    @staticmethod
    def _warn(text: str) -> None:
        click.echo(text, err=True)


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON document."""
    click.echo(json_text(content))


def json_text(content: dict[str, Any]) -> str:
    """Return one JSON document, in ASCII so that any terminal and any file name will do."""
    return json.dumps({"schema_version": SCHEMA_VERSION} | content, indent=2, allow_nan=False)
