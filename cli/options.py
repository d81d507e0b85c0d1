"""Options that several commands share, spelled and explained once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from .streams import Streams

Command = TypeVar("Command", bound=Callable[..., Any])
N = TypeVar("N", int, float)


def settings_option(settings: type) -> Callable[..., Callable[[Command], Command]]:
    """Return a decorator factory for options whose defaults are those of a settings dataclass."""
    by_name: dict[str, Field[Any]] = {field.name: field for field in fields(settings)}

    def option(*names: str, **attributes: Any) -> Callable[[Command], Command]:
        default = by_name[_python_name(names)].default
        if default is not MISSING:
            attributes |= {"default": default, "show_default": default is not None}
        return click.option(*names, **attributes)

    return option


def given_options() -> dict[str, str]:
    """Return how the options on the command line are spelled, by the names of their values."""
    context = click.get_current_context()
    return {
        param.name: max(param.opts, key=len)
        for param in context.command.params
        if isinstance(param, click.Option)
        and param.name is not None
        and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    }


class Choice(click.Choice):  # type: ignore[type-arg]  # no parameter before click 8.2
    """One of several words; a wrong one is answered with the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            begun = [choice for choice in self.choices if choice.startswith(str(value) or " ")]
            near = begun or get_close_matches(str(value), self.choices, n=1)
            if not near:
                raise
            self.fail(f"{error.message} Did you mean {near[0]!r}?", param, ctx)


def output_options(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add --json, --quiet and --debug, and hand the command its Streams first."""

    @click.option("--json", "json", is_flag=True, help="Print one JSON document on stdout.")
    @click.option("-q", "--quiet", is_flag=True, help="Print results only.")
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @wraps(command)
    def wrapped(json: bool, quiet: bool, debug: bool, **values: Any) -> int | None:
        watched = sys.stderr.isatty() and not sys.stdout.isatty()  # the document goes elsewhere
        streams = Streams(json=json, quiet=quiet or (json and not watched))
        return command(streams, **values)

    return wrapped


def path_type() -> click.Path:
    """Return the type of paths; whether they exist is for the job to say, with its exit code."""
    return click.Path(path_type=Path)


def learning_rate(value: str) -> float | str:
    """Return a number or `auto`."""
    return _or_auto(float, value, "a number")


def batch_size(value: str) -> int | str:
    """Return a whole number or `auto`."""
    return _or_auto(int, value, "a whole number")


def _or_auto(kind: Callable[[str], N], value: str, meaning: str) -> N | str:
    if value == "auto":
        return value
    try:
        return kind(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither {meaning} nor 'auto'.") from None


def _python_name(names: tuple[str, ...]) -> str:
    """Return the parameter name that click derives: the first name with two dashes."""
    first = next(name for name in names if name.startswith("--"))
    return first.split("/")[0].removeprefix("--").replace("-", "_")
