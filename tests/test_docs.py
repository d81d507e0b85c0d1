"""The code of the documentation runs, in the order in which a page shows it.

Blocks of `python` share one namespace a page, blocks of `console` run their `$ cpcnn …` lines, and
both work in one folder a page. A block that cannot run says so: `{ .python .not-run }`.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cpcnn_cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)
INCLUDE = re.compile(r'^--8<-- "(?P<path>[^"]+)"$', re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: its words (`python`, `not-run`, …), its text, and its line in the page."""

    words: frozenset[str]
    code: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in FENCE.finditer(text):
        words = frozenset(word.lstrip(".") for word in match["info"].strip("{} ").split())
        code = INCLUDE.sub(
            lambda found: (ROOT / "docs" / found["path"]).read_text("utf-8"), match["code"]
        )
        yield Block(words, code, text.count("\n", 0, match.start()) + 1)


def run_python(block: Block, page: Path, namespace: dict[str, Any]) -> None:
    # as many empty lines before it as in the page, so that a traceback shows the page's line
    source = "\n" * block.line + block.code
    exec(compile(source, str(page), "exec", dont_inherit=True), namespace)


def run_console(block: Block, page: Path, _: dict[str, Any]) -> None:
    commands = [
        line.removeprefix("$ ") for line in block.code.splitlines() if line.startswith("$ ")
    ]
    assert commands, f"{page.name}:{block.line}: no line starts with '$ '"
    for command in commands:
        program, *arguments = shlex.split(command, comments=True)
        assert program == "cpcnn", f"{page.name}:{block.line}: {program} is not run here"
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, f"{page.name}:{block.line}: {command}\n{result.output}"


RUNNERS: dict[str, Callable[[Block, Path, dict[str, Any]], None]] = {
    "python": run_python,
    "console": run_console,
}


def runner_of(block: Block) -> Callable[[Block, Path, dict[str, Any]], None] | None:
    found = [RUNNERS[word] for word in block.words & RUNNERS.keys()]
    return found[0] if found and "not-run" not in block.words else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_a_page_run(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    count: Callable[[int, str], None],
) -> None:
    monkeypatch.chdir(tmp_path)
    # what a page registers is known on that page
    for module, table in (
        ("layers.config", "REGISTRY"),
        ("layers.lambda_layer", "REGISTERED"),
        ("devices.registry", "_registered"),
    ):
        place = import_module(f"cpcnn.{module}")
        monkeypatch.setattr(place, table, dict(getattr(place, table)))
    namespace: dict[str, Any] = {"__name__": f"docs.{page.stem}"}
    every = [block for block in blocks(page) if block.words & RUNNERS.keys()]
    ran = 0
    for block in every:
        run = runner_of(block)
        if run is not None:
            run(block, page, namespace)
            ran += 1
    count(ran, "code blocks of the documentation ran")
    count(len(every) - ran, "code blocks of the documentation are marked not-run")


def test_every_page_of_the_guide_has_code_that_runs() -> None:
    guide = {"tutorial", "networks", "training", "own-layer", "own-device", "keras"}
    with_code = {page.stem for page in PAGES if any(runner_of(block) for block in blocks(page))}
    assert guide <= with_code


ROOMS = (
    "callbacks data devices initializers layers losses metrics models optimizers "
    "preprocessing.image schedules testing"
)
# told where it is used, or at the class that it is an object of
NOT_IN_THE_REFERENCE = {"IMAGE_EXTENSIONS", "RESIZE_MODES", "SCHEDULES"}


@pytest.mark.parametrize("room", ROOMS.split())
def test_the_reference_has_every_public_name(room: str) -> None:
    pages = "\n".join(page.read_text("utf-8") for page in (ROOT / "docs" / "api").glob("*.md"))
    shown = {path.rpartition(".")[2] for path in re.findall(r"^::: (\S+)$", pages, re.M)}
    module = import_module(f"cpcnn.{room}")
    objects = {
        name for name in module.__all__ if name.islower() and not callable_here(module, name)
    }
    assert set(module.__all__) - shown - objects - NOT_IN_THE_REFERENCE == set()


def callable_here(module: Any, name: str) -> bool:
    """Whether a name stands for a function or class, and not for a ready-made object."""
    return inspect.isroutine(getattr(module, name)) or inspect.isclass(getattr(module, name))
