"""What the tests of the command line share: small images, one trained run, and ways to call it."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cpcnn_cli.main import main

SIDE = 16
QUICK = ("--model", "simple", "--width", "0.25", "--epochs", "1", "--device", "cpu")

Cpcnn = Callable[..., Result]


def write_images(folder: Path, count: int, *, level: int = 0, seed: int = 0) -> None:
    """Write noisy colour images whose brightness is about `level`."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = random.Random(f"{folder.name}{seed}")
    for number in range(count):
        pixels = bytes(min(255, level + noise.randrange(64)) for _ in range(SIDE * SIDE * 3))
        Image.frombytes("RGB", (SIDE, SIDE), pixels).save(folder / f"{number:03}.png")


def write_classes(root: Path, counts: dict[str, int], *, seed: int = 0) -> Path:
    """Write a class folder for each name; the classes differ in brightness."""
    for position, (name, count) in enumerate(counts.items()):
        write_images(root / name, count, level=position * 60, seed=seed)
    return root


def call(*arguments: object) -> Result:
    """Run a command line in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def error_of(result: Result, exit_code: int) -> str:
    """Check that a call failed as it should, without a traceback, and return what it said."""
    assert result.exit_code == exit_code, result.output
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    lines = result.stderr.splitlines()
    (start,) = (number for number, line in enumerate(lines) if line.startswith("error: "))
    return "\n".join(lines[start:])


def document_of(result: Result) -> Any:
    """Return the one JSON document that stdout must be."""
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    return document


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def start(*arguments: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """Run a command line in a process of its own, its output in pipes."""
    return subprocess.Popen(
        [sys.executable, "-c", "from cpcnn_cli.main import main; main()", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Split folders: train and test of three classes."""
    root = tmp_path_factory.mktemp("data") / "images"
    write_classes(root / "train", {"bus": 10, "car": 12, "van": 10})
    write_classes(root / "test", {"bus": 5, "car": 4, "van": 3}, seed=1)
    return root


@pytest.fixture(scope="session")
def trained(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose runs/simple-1 was trained on `images`; tests take a copy."""
    folder = tmp_path_factory.mktemp("work")
    with working_in(folder):
        result = call("train", images, *QUICK, "--epochs", 2)
    assert result.exit_code == 0, result.output
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(work: Path, trained: Path) -> Path:
    """The trained run, copied into the working directory: runs/simple-1."""
    shutil.copytree(trained / "runs", work / "runs")
    return Path("runs/simple-1")
