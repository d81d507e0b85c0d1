"""What a user sees of an error: message and suggestion, or one JSON document, and the exit code."""

from __future__ import annotations

import os
import shutil
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from textwrap import fill

import click

from .streams import print_json
from .views.text import printable_lines

INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports for a program that its reader has left


@dataclass(frozen=True)
class Failure:
    """One error, ready to be shown."""

    code: str
    exit_code: int
    message: str
    suggestion: str = ""


def exit_code_of(error: BaseException, arguments: Sequence[str]) -> int:
    """Show an error that ended a command and return its exit code."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        silence_stdout()
        return BROKEN_PIPE
    failure = describe(error, arguments)
    if _given(arguments, "--debug") or os.environ.get("CPCNN_DEBUG", "0") not in ("", "0"):
        traceback.print_exception(error, file=sys.stderr)
    show(failure, json=_given(arguments, "--json"))
    return failure.exit_code


def describe(error: BaseException, arguments: Sequence[str]) -> Failure:
    """Return what to tell about an error."""
    from cpcnn.core.errors import CpcnnError

    if isinstance(error, CpcnnError):
        text = str(error).removesuffix(error.suggestion).rstrip()
        return Failure(error.code, error.exit_code, text, error.suggestion)
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return Failure("interrupted", INTERRUPTED, "Interrupted.")
    if isinstance(error, click.ClickException):
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "cpcnn"
        suggestion = f"See `{path} --help`."
        if isinstance(error, click.NoSuchOption):
            hint = _name_like_an_option(arguments) or _nearest_option(error) + suggestion
            return Failure("usage", 2, f"No such option {error.option_name!r}.", hint)
        return Failure("usage", 2, error.format_message(), suggestion)
    if isinstance(error, MemoryError):
        return Failure(
            "memory",
            1,
            f"Out of memory. {error}".rstrip(),
            "Try a smaller --batch-size or --img-size.",
        )
    detail = traceback.format_exception_only(error)[-1].strip()
    return Failure(
        "internal",
        1,
        f"Unexpected error: {detail}",
        "Run again with --debug to see where; please report it.",
    )


def _nearest_option(error: click.NoSuchOption) -> str:
    near = get_close_matches(error.option_name, error.possibilities or (), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _name_like_an_option(arguments: Sequence[str]) -> str:
    """Say how to name a file whose name begins as options do, if one was named."""
    for name in arguments:
        if name.startswith("-") and os.path.lexists(name):
            return f"If you mean what is called {name}, write {os.path.join('.', name)}."
    return ""


def show(failure: Failure, *, json: bool) -> None:
    """Print a failure: one JSON document on stdout, or two lines on stderr."""
    if json:
        error = {
            "code": failure.code,
            "message": failure.message,
            "suggestion": failure.suggestion,
        }
        print_json({"error": error})
        return
    text = failure.message if failure.code == "interrupted" else f"error: {failure.message}"
    for paragraph in filter(None, (text, failure.suggestion)):
        click.echo(fitted(printable_lines(paragraph)), err=True)


def fitted(text: str) -> str:
    """Wrap between words on a terminal; elsewhere a message stays on its line, for grep."""
    if not sys.stderr.isatty():
        return text
    width = shutil.get_terminal_size().columns
    lines = [
        line
        if line.startswith(" ")
        else fill(line, width, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    ]
    return "\n".join(lines)


def _given(arguments: Sequence[str], flag: str) -> bool:
    """Say whether a flag was given, also when the command line could not be parsed."""
    before = arguments[: list(arguments).index("--")] if "--" in arguments else arguments
    return flag in before


def silence_stdout() -> None:
    """Let the interpreter flush stdout at exit without a second error."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
