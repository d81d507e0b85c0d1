"""Runs that are interrupted again and again, by signals to processes of their own."""

from __future__ import annotations

import csv
import os
import random
import signal
import statistics
import time
from pathlib import Path
from typing import Any

import pytest

from cpcnn.jobs import TrainSettings

from .conftest import start
from .test_resume import EVERYTHING, outcome, settings_for, train_until

pytestmark = pytest.mark.long

INTERRUPTIONS = 20
EARLY = 0.2  # share of signals that come while Python, the library or the images are loaded
TIME_LIMIT = 300.0
CASES: dict[str, dict[str, Any]] = {  # dropout is in the tests of the trainer
    "everything": EVERYTHING | {"epochs": 500},
    "plateau": {"schedule": "reduce-on-plateau", "optimizer": "nadam", "epochs": 1000},
}
RUN = Path("interrupted")


def as_options(settings: TrainSettings) -> list[str]:
    config = {k: v for k, v in settings.to_config().items() if k not in ("data", "freeze")}
    flags = {name: value for name, value in config.items() if isinstance(value, bool)}
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in config.items() if name not in flags
    ]
    return [*options, *(f"--{name.replace('_', '-')}" for name, value in flags.items() if value)]


def interrupt_once(arguments: list[object], delay: float, *, early: bool) -> bool:
    """Run a command and interrupt it; say whether it had begun to train."""
    process = start(*arguments, cwd=Path.cwd())
    assert process.stderr is not None
    if not early:
        for line in process.stderr:
            if line.startswith("Train: "):
                break
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    results, people = process.communicate(timeout=TIME_LIMIT)
    # before our own code runs, Python ends in ways of its own
    assert process.returncode == 130 or (early and process.returncode), people
    assert early or "Traceback" not in people, people
    return "Interrupted after" in results


def seconds_of_training(run: Path) -> float:
    """Return how long the epochs take without what is compiled in the first ones."""
    with (run / "history.csv").open(newline="") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)]
    return statistics.median(seconds) * len(seconds)


@pytest.mark.parametrize("name", CASES)
def test_twenty_interruptions_at_random_moments(images: Path, work: Path, name: str) -> None:
    settings = settings_for(images, output=Path("whole"), **CASES[name])
    train_until(settings)
    seconds = seconds_of_training(Path("whole"))
    rng = random.Random(name)
    interruptions = 0
    while interruptions < INTERRUPTIONS:
        arguments: list[object] = ["train", "--resume", RUN]
        if not (RUN / "last.cpcnn").exists():
            arguments = ["train", images, *as_options(settings), "-o", RUN]
        early = rng.random() < EARLY
        delay = rng.uniform(0, 0.6) if early else rng.uniform(0, seconds / 30)
        interruptions += interrupt_once(arguments, delay, early=early)
    process = start("train", "--resume", RUN, cwd=work)
    _, people = process.communicate(timeout=TIME_LIMIT)
    assert process.returncode == 0, people
    assert outcome(RUN) == outcome(Path("whole"))
    assert not [path for path in os.listdir(RUN) if path.startswith(".")]
