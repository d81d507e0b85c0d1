"""What the library logs: a line on stderr, above a moving one, and none for who asked for quiet."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import pytest

from cpcnn_cli.library_lines import library_lines

from . import test_terminal
from .conftest import QUICK, start
from .test_terminal import ESCAPE, Terminal

pytest.importorskip("numba")

NOTICE = "NUMBA_DISABLE_JIT is set, so the cpu device computes by the definitions of its ops"
COMPILING = "Compiling CPU kernels: the first run only."
TIME_LIMIT = 300.0  # seconds, for compiling on a busy machine


def test_lines_by_level() -> None:
    logger = logging.getLogger("cpcnn")
    before = logger.handlers
    said: list[str] = []
    for quiet in (False, True):
        with library_lines(said.append, quiet=quiet):
            logger.info("an information")
            logger.warning("a %s", "warning")
            logger.error("an error")
    assert said == ["a warning", "an error", "an error"]
    with library_lines(said.append):
        with library_lines(lambda line: said.append(f"live: {line}")):
            logger.warning("nearest")
        logger.warning("outer")
    assert said[-2:] == ["live: nearest", "outer"]
    assert logger.handlers == before


@pytest.mark.parametrize(("option", "lines"), [("--debug", 1), ("--quiet", 0), ("--json", 0)])
def test_a_notice_in_a_pipe(option: str, lines: int, work: Path) -> None:
    process = start("devices", option, cwd=work, NUMBA_DISABLE_JIT="1")
    results, people = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0
    assert people.count("\n") == people.count(NOTICE) == lines
    assert "without Numba" in " ".join(results.split())
    if option == "--json":
        assert json.loads(results)["auto"] == "cpu"


@pytest.mark.parametrize("columns", [80, 40])
def test_a_notice_above_a_moving_line(columns: int, images: Path, work: Path) -> None:
    terminal = Terminal("train", images, *QUICK, cwd=work, columns=columns, NUMBA_DISABLE_JIT="1")
    assert terminal.finish() == 0
    lines = terminal.lines()
    first = next(number for number, line in enumerate(lines) if line.startswith("Device: "))
    assert " ".join(lines[:first]) == f"{NOTICE}: slowly."
    assert max(map(len, lines[:first])) <= columns


@pytest.mark.long
def test_compiling_above_a_moving_line(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_terminal, "TIME_LIMIT", TIME_LIMIT)
    terminal = Terminal("train", images, *QUICK, cwd=work, NUMBA_CACHE_DIR=str(work))
    assert terminal.finish() == 0
    lines = terminal.lines()
    at = lines.index(COMPILING)  # a line of its own
    assert any(line.startswith("Train: ") for line in lines[:at])
    assert lines[at - 1].startswith(("Train: ", "Note: "))
    assert "Epoch 1/1" in lines[at + 1]
    assert ESCAPE.sub("", terminal.output).count("Compiling") == 1


@pytest.mark.long
@pytest.mark.parametrize(("options", "lines"), [((), 1), (("--quiet",), 0), (("--json",), 0)])
def test_compiling_in_a_pipe(options: tuple[str, ...], lines: int, run: Path, images: Path) -> None:
    process = start(
        "predict", images / "test", *options, cwd=Path.cwd(), NUMBA_CACHE_DIR=str(Path.cwd())
    )
    results, people = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0
    assert len(re.findall(f"(?m)^{re.escape(COMPILING)}$", people)) == lines
    assert people.count("Compiling") == lines
    assert "Compiling" not in results
    assert any(Path.cwd().glob("cpcnn/kernels-*/*"))
