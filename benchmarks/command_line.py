"""What the benchmarks' command lines share."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import NETWORKS
from machine import BUSY
from paired_timing import REPEATS


def add_case_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose and change the cases."""
    count, factor = positive(int), positive(float)
    add = parser.add_argument
    add(
        "--networks",
        nargs="+",
        choices=NETWORKS,
        default=NETWORKS,
        metavar="NAME",
        help=", ".join(NETWORKS),
    )
    add("--size", type=count, metavar="PX", help="side of the square images")
    add("--channels", type=int, choices=(1, 3), help="1 = grey, 3 = colour")
    add("--width", type=factor, metavar="X", help="scales the number of channels of the networks")
    add("--batch-size", type=count, metavar="N", help="images per step")


def check_target(parser: argparse.ArgumentParser, path: Path | None) -> None:
    """Refuse a file to write whose folder does not exist: before measuring, not after."""
    if path and not path.parent.is_dir():
        parser.error(f"argument --json: there is no folder {path.parent}")


def positive(kind: type[int] | type[float]) -> Callable[[str], int | float]:
    """Return a parser of numbers above zero."""
    allowed = "a whole number" if kind is int else "a number"

    def parse_number(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            value = kind(0)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"{text!r} is not {allowed} above zero")
        return value

    return parse_number


def describe_command(script: str, given: list[str]) -> dict[str, Any]:
    """Return when a run started, and how it is repeated."""
    name = Path(script).name
    return {
        "benchmark": name.removesuffix(".py"),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{name}", *given]),
    }


def warn(repeats: int, load: float | None) -> None:
    """Say what makes the figures of a run worth less."""
    if repeats < REPEATS:
        say(f"Fewer than {REPEATS} turns of each side: do not publish these figures.")
    if load is not None and load > BUSY:
        say(f"Other work runs on this machine (load {load}): do not publish these figures.")


def say(text: str) -> None:
    """Tell the person who waits; the tables alone go to stdout."""
    print(text, file=sys.stderr, flush=True)
