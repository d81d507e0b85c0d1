"""Help of a command with many options: under headings, in columns that line up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import click

LAST_SECTION = "Output"  # of options that no section names: --json, --quiet, --debug, --help
COLUMN, GAP = 30, 2  # the widest names of options beside their help, and the space between


class SectionedCommand(click.Command):
    """A command whose options are listed by subject; `sections` are the names of its values."""

    def __init__(
        self, *args: Any, sections: Mapping[str, tuple[str, ...]], **attributes: Any
    ) -> None:
        super().__init__(*args, **attributes)
        self.sections = sections

    def options_by_section(self) -> Iterator[tuple[str, list[click.Option]]]:
        """Yield every heading with its options but --help, in the order of the table."""
        options = {param.name: param for param in self.params if isinstance(param, click.Option)}
        for title, names in self.sections.items():
            yield title, [options.pop(name) for name in names]
        yield LAST_SECTION, list(options.values())

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, options in self.options_by_section():
            more = [self.get_help_option(ctx)] if title == LAST_SECTION else []
            records = (option.get_help_record(ctx) for option in (*options, *more) if option)
            rows = [record for record in records if record is not None]
            widest = min(max(len(names) for names, _ in rows), COLUMN)
            with formatter.section(title):
                formatter.write_dl(rows, col_max=COLUMN, col_spacing=COLUMN - widest + GAP)
