"""The options of `cpcnn train` under headings."""

from __future__ import annotations

import re

import click

from cpcnn_cli.commands import load
from cpcnn_cli.help_sections import COLUMN, SectionedCommand

from .conftest import call


def test_every_option_is_under_one_heading() -> None:
    command = load("train")
    assert isinstance(command, SectionedCommand)
    sections = dict(command.options_by_section())
    named = [option for options in sections.values() for option in options]
    assert set(named) == {param for param in command.params if isinstance(param, click.Option)}
    assert len(named) == len(set(named))
    # an option that nobody gave a heading lands with these
    assert [option.name for option in sections["Output"]] == ["json", "quiet", "debug"]


def test_the_columns_of_all_headings_line_up() -> None:
    text = call("train", "--help").output
    assert "  -h, --help  " in text
    headings = re.findall(r"(?m)^(\w+):$", text)
    assert headings == ["Images", "Model", "Training", "Augmentation", "Run", "Output"]
    starts = [len(match[0]) for match in re.finditer(r"(?m)^  -.{1,28}?  +(?=\S)", text)]
    assert len(starts) > 30
    assert set(starts) == {COLUMN + 4}
