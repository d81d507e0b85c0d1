"""Training on more images than memory shall hold: what `--cache disk` takes of it.

    python benchmarks/bounded_memory.py --gigabytes 3 --folder /tmp/many

Makes a folder of JPEGs whose decoded pixels are so many bytes, trains on it in a process of its
own, and watches that process' anonymous memory (RssAnon), which the system cannot take back. Pages
of the mapped cache (RssFile) it can. Linux only.
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from command_line import say

CLASSES = 4
FIELDS = ("RssAnon", "RssFile")
PERIOD = 0.02  # seconds between two looks


def make_images(folder: Path, count: int, size: int) -> None:
    """Write so many different pictures in classes, but those that are there."""
    from PIL import Image

    y, x = np.mgrid[:size, :size] / size

    def write(number: int) -> None:
        path = folder / f"class{number % CLASSES}" / f"{number:07}.jpg"
        if path.exists():
            return
        random = np.random.default_rng(number)
        a, b, c = random.uniform(1, 9, (3, 3))
        waves = [np.sin(a[k] * x + b[k] * y) * np.cos(c[k] * x * y) for k in range(3)]
        colours = np.stack(waves, axis=-1) * 90 + 128 + (number % CLASSES) * 10
        Image.fromarray(colours.astype(np.uint8)).save(path, quality=85)

    for number in range(CLASSES):
        (folder / f"class{number}").mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(write, range(count)):
            pass


def memory_of(process: int) -> dict[str, int]:
    """Return bytes by field of /proc/PID/status."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    parts = (line.split() for line in lines)
    return {p[0][:-1]: int(p[1]) * 1024 for p in parts if p and p[0][:-1] in FIELDS}


def train(data: Path, size: int, options: Sequence[str], cache: Path) -> dict[str, Any]:
    """Train, and return the most that the process had of each kind of memory, and its outcome."""
    arguments = ["train", str(data), "--img-size", str(size), "--json", *options]
    code = "import sys; from cpcnn_cli.main import main; main(sys.argv[1:])"
    environment = os.environ | {"CPCNN_IMAGE_CACHE": str(cache)}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="cpcnn-run-") as run:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments, "--output", f"{run}/run"],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        most = dict.fromkeys(FIELDS, 0)
        with ThreadPoolExecutor(1) as pool:
            output = pool.submit(process.communicate)
            while not output.done():
                try:
                    now = memory_of(process.pid)
                except OSError:  # it has ended
                    break
                most = {name: max(most[name], now.get(name, 0)) for name in FIELDS}
                time.sleep(PERIOD)
            document = json.loads(output.result()[0])
    if process.returncode:
        raise RuntimeError(f"training ended with {process.returncode}: {document}")
    history = document["history"]
    return {
        "seconds": time.perf_counter() - start,
        **{f"most_{name}": value for name, value in most.items()},
        "data_wait": [epoch["data_wait"] for epoch in history],
        "images_per_second": [epoch["images_per_second"] for epoch in history],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Make images, train with each way to keep them, and print what that took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=3.0, help="decoded pixels")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--folder", type=Path, help="kept for the next time")
    parser.add_argument("--cache", nargs="+", default=["disk"], help="settings to try")
    parser.add_argument("--epochs", default="1")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    count = int(options.gigabytes * 1e9 / (3 * options.size**2))
    training = ["--model", "simple", "--width", "0.125", "--epochs", options.epochs]
    results = {}
    with tempfile.TemporaryDirectory(prefix="cpcnn-many-") as passing:
        data = options.folder or Path(passing) / "images"
        say(f"making {count:,} images of {options.size}×{options.size}")
        make_images(data, count, options.size)
        for kept in options.cache:
            with tempfile.TemporaryDirectory(prefix="cpcnn-cache-") as cache:
                for when in ("first run", "second run"):
                    found = train(data, options.size, [*training, "--cache", kept], Path(cache))
                    results[f"{kept}, {when}"] = found
                    say(
                        f"--cache {kept}, {when}: RssAnon {found['most_RssAnon'] / 1e6:,.0f} MB, "
                        f"RssFile {found['most_RssFile'] / 1e6:,.0f} MB, "
                        f"{found['seconds']:.0f} s, data wait "
                        + ", ".join(f"{wait:.1%}" for wait in found["data_wait"])
                    )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
