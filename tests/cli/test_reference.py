"""docs/cli.md says what the commands say, and the shell completes them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cpcnn_cli.commands import ALIASES, COMMANDS, load

from .conftest import call, error_of
from .write_reference import PAGE, reference, with_reference


def test_the_page_is_up_to_date() -> None:
    text = PAGE.read_text("utf-8")
    assert with_reference(text) == text, "run: python tests/cli/write_reference.py"


def options_of(name: str) -> list[click.Option]:
    command = load(name)
    assert command is not None
    return [param for param in command.params if isinstance(param, click.Option)]


def test_every_command_and_option_is_in_the_reference() -> None:
    text = reference()
    sections = dict(re.findall(r"(?ms)^### (\S+)\n(.*?)(?=^### |\Z)", text))
    assert list(sections) == list(COMMANDS)
    for name, section in sections.items():
        for option in options_of(name):
            for spelling in (*option.opts, *option.secondary_opts):
                assert f"`{spelling}`" in section
            assert option.help
    assert "Also: `cpcnn val`." in sections["eval"]
    assert "`--allow-nested` |  |" in sections["train"]
    assert "| `light` | How strongly images" in sections["train"]


def test_tables_have_three_columns() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(AssertionError, match="has no <!-- from here"):
        with_reference("# The command line")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_quiet_and_debugged(name: str) -> None:
    spellings = {spelling for option in options_of(name) for spelling in option.opts}
    assert {"-q", "--quiet", "--debug"} <= spellings
    assert "--json" in spellings or name == "demo"


# --- completion and spelling --------------------------------------------------------------


def completions(*words: str) -> list[str]:
    """Return what the shell is offered for the last word, as Bash asks for it."""
    done = subprocess.run(
        [sys.executable, "-c", "from cpcnn_cli.main import main; main()"],
        env=os.environ
        | {
            "_CPCNN_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("cpcnn", *words)),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_completion() -> None:
    assert completions("") == list(COMMANDS)
    assert completions("su") == ["summary"]
    assert "--label-smoothing" in completions("train", "--l")
    assert completions("eval", "--split", "t") == ["train", "test"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_page_gives_the_line_of_every_shell(shell: str) -> None:
    assert f"_CPCNN_COMPLETE={shell}_source cpcnn" in PAGE.read_text("utf-8")


@pytest.mark.skipif(not shutil.which("bash"), reason="needs Bash")
def test_what_bash_is_given_is_valid(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from cpcnn_cli.main import main; main()"],
        env=os.environ | {"_CPCNN_COMPLETE": "bash_source"},
        capture_output=True,
        text=True,
        check=True,
    )
    script = tmp_path / "completion.bash"
    script.write_text(done.stdout)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert "complete" in done.stdout


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_its_command(alias: str) -> None:
    assert load(alias) is load(ALIASES[alias])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("sumary", "summary"), ("evla", "eval"), ("predcit", "predict"), ("device", "devices")],
)
def test_a_mistyped_command(typed: str, meant: str) -> None:
    assert f"Did you mean '{meant}'?" in error_of(call(typed), 2)


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [
        ("train", "--epoch", "--epochs"),
        ("eval", "--spilt", "--split"),
        ("summary", "--trian", "--train"),
    ],
)
def test_a_mistyped_option(command: str, typed: str, meant: str) -> None:
    message = error_of(call(command, typed), 2)
    assert f"No such option '{typed}'" in message
    assert meant in message
