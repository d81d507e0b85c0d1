"""Whole processes: `cpcnn train` and `cpcnn eval` beside a PyTorch script on the same folder.

    python benchmarks/whole_run_vs_torch.py FASHION_MNIST --json result.json

Start-up, finding and reading the images, training and the test are all in the time. A round is: our
run on an empty image cache, the PyTorch script, and our run again, which finds the images in the
cache. Kernels are compiled before, once per machine, and not in the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from command_line import check_target, describe_command, say, warn
from machine import describe_machine, describe_versions, load
from paired_timing import Comparison

from cpcnn.devices import get_device

SCHEMA_VERSION = 1
FIRST, SECOND, TORCH = "cpcnn, first run", "cpcnn, second run", "torch"
SCRIPT = Path(__file__).with_name("torch_training.py")
CPCNN = [sys.executable, "-c", "from cpcnn_cli.main import main; main()"]


def ours(options: argparse.Namespace, cache: Path) -> tuple[float, float]:
    """Return seconds and test accuracy of training and evaluation."""
    environment = os.environ | {"CPCNN_IMAGE_CACHE": str(cache)}
    with tempfile.TemporaryDirectory(prefix="cpcnn-run-") as folder:
        run = Path(folder) / "run"
        train = ["train", str(options.data), "--model", "simple", "--device", "cpu", "--quiet"]
        start = time.perf_counter()
        done([*CPCNN, *train, "--epochs", str(options.epochs), "--output", str(run)], environment)
        report = done([*CPCNN, "eval", str(run), "--device", "cpu", "--json"], environment)
        took = time.perf_counter() - start
    return took, json.loads(report)["accuracy"]


def theirs(options: argparse.Namespace) -> tuple[float, float]:
    """Return the same of the script for PyTorch."""
    words = [sys.executable, str(SCRIPT), str(options.data), "--epochs", str(options.epochs)]
    words += ["--size", str(options.size), "--channels", str(options.channels)]
    start = time.perf_counter()
    report = done(words, dict(os.environ))
    return time.perf_counter() - start, json.loads(report)["accuracy"]


def done(words: list[str], environment: dict[str, str]) -> str:
    """Run a program to its end and return what it printed."""
    finished = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise RuntimeError(f"{words[:4]} ended with {finished.returncode}: {finished.stderr}")
    return finished.stdout


def measure(options: argparse.Namespace) -> tuple[Comparison, dict[str, list[float]]]:
    """Return the seconds and the accuracies of all rounds."""
    seconds: dict[str, list[float]] = {}
    accuracies: dict[str, list[float]] = {}
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="cpcnn-cache-") as cache:
            for name in (FIRST, TORCH, SECOND):
                side = theirs(options) if name == TORCH else ours(options, Path(cache))
                seconds.setdefault(name, []).append(side[0])
                accuracies.setdefault(name, []).append(side[1])
                say(f"round {number + 1}: {name}: {side[0]:.1f} s, accuracy {side[1]:.4f}")
    return Comparison(seconds), accuracies


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the ratios, and write them as JSON if asked."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train/ and test/")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=28, help="side of the images as they are")
    parser.add_argument("--channels", type=int, choices=(1, 3), default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(given)
    check_target(parser, options.json)
    machine = describe_machine(get_device("cpu"))
    warn(sys.maxsize, load())
    found, accuracies = measure(options)
    for name in (FIRST, SECOND):
        low, high = found.quartiles(TORCH, name)
        print(
            f"{name}: {found.median(name):.1f} s, PyTorch {found.median(TORCH):.1f} s: "
            f"{found.ratio(TORCH, name):.2f} ({low:.2f} to {high:.2f})"
        )
    if options.json:
        document = describe_command(__file__, given) | {
            "schema_version": SCHEMA_VERSION,
            "machine": machine | {"load_after": load()},
            "versions": describe_versions(),
            "seconds": found.seconds,
            "accuracies": accuracies,
        }
        options.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
