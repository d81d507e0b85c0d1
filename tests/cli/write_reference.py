"""Write the commands and their options into docs/cli.md, as the command line knows them.

python tests/cli/write_reference.py
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from cpcnn_cli.commands import ALIASES, COMMANDS, load
from cpcnn_cli.help_sections import SectionedCommand

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
START = "<!-- from here on written by tests/cli/write_reference.py -->"
END = "<!-- as far as here -->"


def main() -> None:
    text = PAGE.read_text("utf-8")
    PAGE.write_text(with_reference(text), "utf-8")
    print(f"{PAGE}: {'as it was' if PAGE.read_text('utf-8') == text else 'brought up to date'}")


def with_reference(page: str) -> str:
    """Return a page whose text between the two marks is that of the commands."""
    before, found, rest = page.partition(START)
    _, closed, after = rest.partition(END)
    assert found, f"{PAGE} has no {START}"
    assert closed, f"{PAGE} has no {END}"
    return f"{before}{START}\n\n{reference()}\n\n{END}{after}"


def reference() -> str:
    """Return a section for each command."""
    return "\n\n".join("\n\n".join(_section(name)) for name in COMMANDS)


def _section(name: str) -> Iterator[str]:
    command = load(name)
    assert command is not None
    with click.Context(command, info_name=f"cpcnn {name}") as ctx:
        yield f"### {name}"
        usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
        yield f"```text\n{usage}\n```"
        yield from _paragraphs(command)
        if isinstance(command, SectionedCommand):
            for title, options in command.options_by_section():
                yield f"**{title}**"
                yield _table(options)
        else:
            yield _table(command.params)


def _table(params: Sequence[click.Parameter]) -> str:
    options = [param for param in params if isinstance(param, click.Option)]
    rows = [_row(option) for option in options]
    return "\n".join(["| option | default | meaning |", "|---|---|---|", *rows])


def _paragraphs(command: click.Command) -> Iterator[str]:
    for text in filter(None, (command.help, command.epilog)):
        for paragraph in inspect.cleandoc(text).split("\n\n"):
            yield _plain(" ".join(paragraph.replace("\b", "").split()))
    names = [alias for alias, name in ALIASES.items() if name == command.name]
    if names:
        yield f"Also: `cpcnn {names[0]}`."


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f" {_values(option)}"
    return f"| {names}{value} | {_default(option)} | {_plain(option.help or '')} |"


def _values(option: click.Option) -> str:
    """What an option takes: its choices, or the word that stands for the value."""
    if isinstance(option.type, click.Choice):
        return ", ".join(f"`{choice}`" for choice in option.type.choices)
    return f"`{option.metavar or option.type.name.upper()}`".replace("|", "` or `")


def _default(option: click.Option) -> str:
    value = option.default
    if option.secondary_opts and value is not None:
        return f"`{(option.opts if value else option.secondary_opts)[0]}`"
    hidden = option.is_flag or not option.show_default or callable(value)
    if hidden or value is None or value == ():
        return ""
    return f"`{value}`"


def _plain(text: str) -> str:
    """Text that is to appear in Markdown as it is."""
    for letter in "\\*_<|":
        text = text.replace(letter, f"\\{letter}")
    return text


if __name__ == "__main__":
    main()
