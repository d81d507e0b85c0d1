"""Who writes where: results and JSON on stdout, everything for the eyes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
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
        """Keep stdout for the JSON document: what anything else prints meanwhile goes to stderr."""
        if self.json:
            with redirect_stdout(sys.stderr):
                yield
        else:
            yield


def print_json(content: dict[str, Any]) -> None:
    """Print one JSON document."""
    click.echo(json_text(content))


def json_text(content: dict[str, Any]) -> str:
    """Return one JSON document, in ASCII so that any terminal and any file name will do."""
    return json.dumps({"schema_version": SCHEMA_VERSION} | content, indent=2, allow_nan=False)
