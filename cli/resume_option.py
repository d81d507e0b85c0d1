"""`cpcnn train --resume`: which run goes on, and which options may go with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .options import given_options

if TYPE_CHECKING:
    from cpcnn.jobs.resume import ResumeSettings

Command = TypeVar("Command", bound=Callable[..., Any])

LAST_RUN = ""
CHANGES = ("epochs", "device", "workers", "threads")
OUTPUT = ("json", "quiet", "debug")  # of what is said, not of what is done


def resume_option(command: Command) -> Command:
    """Add --resume [RUN]; without RUN its value is LAST_RUN."""
    return click.option(
        "--resume",
        is_flag=False,
        flag_value=LAST_RUN,
        metavar="[RUN]",
        help="Go on with a run, by default the last one, with its settings and its DATA.",
    )(command)


def resume_settings(data: Path | None, values: dict[str, Any]) -> ResumeSettings:
    """Return what was asked of a resumed run; UsageError for options that it cannot have."""
    from cpcnn.jobs.resume import ResumeSettings

    given = given_options()
    _refuse_others(given)
    changes = {name: values[name] for name in CHANGES if name in given}
    run = values["resume"]
    return ResumeSettings(None if run == LAST_RUN else Path(run), data, **changes)


def _refuse_others(given: dict[str, str]) -> None:
    from cpcnn.core.errors import UsageError

    others = [
        spelled for name, spelled in given.items() if name not in (*CHANGES, *OUTPUT, "resume")
    ]
    if others:
        raise UsageError(
            f"{', '.join(others)} cannot be given with --resume: a run that goes on keeps its "
            "settings.",
            suggestion="Only --epochs, --device, --workers and --threads may be others. For all "
            "else train a new run, for instance with --config RUN/settings.toml.",
        )
