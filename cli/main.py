"""The entry point: finds the command and turns every error into a message and an exit code."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .commands import ALIASES, COMMANDS, load

CLICKS_NARROWEST, NARROWEST = 50, 20  # columns


class CommandLine(click.Group):
    """A group that loads commands when they are needed and owns the exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and name not in ALIASES and not name.startswith("-"):
            from cpcnn.jobs.settings import did_you_mean

            suggestion = did_you_mean(name, [*COMMANDS, *ALIASES])
            raise click.UsageError(f"No such command {name!r}. {suggestion}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # before click makes a 1 of it
            from .failures import BROKEN_PIPE, silence_stdout

            silence_stdout()
            return BROKEN_PIPE

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> NoReturn:
        """Run a command line and exit with its code; errors are rendered here and nowhere else."""
        arguments = list(sys.argv[1:] if args is None else args)
        extra |= {"standalone_mode": False, "prog_name": "cpcnn"} | _narrow_terminal()
        try:
            code = super().main(arguments, **extra) or 0
            sys.stdout.flush()
        except BaseException as error:
            from .failures import exit_code_of

            code = exit_code_of(error, arguments)
        sys.exit(code)


def _narrow_terminal() -> dict[str, int]:
    """Return how wide help may be where that is less than click ever goes down to by itself."""
    width = shutil.get_terminal_size().columns - 2
    return {"terminal_width": max(width, NARROWEST)} if width < CLICKS_NARROWEST else {}


def _show_version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from cpcnn._version import __version__

        click.echo(f"cpcnn {__version__}")
        ctx.exit()


@click.group(
    cls=CommandLine,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version.",
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Train image classifiers on a folder of images, and see how good they are.

    \b
      cpcnn train images/
      cpcnn eval
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
