"""How long finding the images of a large folder takes, and how much memory.

    python benchmarks/scan.py                     # 200,000 files; lists of up to 1,000,000 rows
    python benchmarks/scan.py --files 20000 --rows 10000 20000 --json

Tiny files are made in a temporary folder and removed again. Each measurement is a process of its
own: peak resident memory (VmHWM) counts the interpreter and all modules, whose share is the first
row. `scan` is `scan_folder`, `split` is `choose_splits`, which hashes every name.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

FILES = 200_000
ROWS = (250_000, 500_000, 1_000_000)
CLASSES = 10
KINDS = ("class folders", "metadata.csv", "metadata.jsonl", "list.csv", "shard.tar")

MEASURE = """
import json, sys, time
from pathlib import Path
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.jobs.splits import choose_splits

def peak():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024

result = {"modules_mb": peak()}
if sys.argv[1]:
    started = time.perf_counter()
    folder = scan_folder(sys.argv[1])
    scanned = time.perf_counter()
    choice = choose_splits(folder, val_fraction=0.2, seed=0)
    ended = time.perf_counter()
    result |= {
        "images": len(choice.train) + len(choice.validation),
        "validation": len(choice.validation),
        "scan_s": scanned - started,
        "split_s": ended - scanned,
        "peak_mb": peak(),
    }
print(json.dumps(result))
"""


def plant(root: Path, kind: str, number: int) -> Path:
    """Make a data set of so many empty files, and return what is given as the data."""
    if kind == "shard.tar":
        return plant_shard(root / "shard.tar", number)
    folders = [root / f"class{label}" for label in range(CLASSES)]
    for folder in folders:
        folder.mkdir(parents=True)
    names = [f"class{i % CLASSES}/image_{i:07}.jpg" for i in range(number)]
    for name in names:
        (root / name).touch()
    rows = ((name, f"label{i % CLASSES}") for i, name in enumerate(names))
    if kind in ("metadata.csv", "list.csv"):
        lines = ["file_name,label", *(f"{name},{label}" for name, label in rows)]
        (root / kind).write_text("\n".join(lines) + "\n")
    elif kind == "metadata.jsonl":
        lines = [json.dumps({"file_name": name, "label": label}) for name, label in rows]
        (root / kind).write_text("\n".join(lines) + "\n")
    return root / kind if kind == "list.csv" else root


def plant_shard(path: Path, number: int) -> Path:
    """Write a tar file of so many empty images with a class each."""
    import io
    import tarfile

    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as shard:
        for i in range(number):
            content = f"label{i % CLASSES}".encode()
            shard.addfile(tarfile.TarInfo(f"{i:07}.jpg"))
            info = tarfile.TarInfo(f"{i:07}.cls")
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
            shard.members.clear()  # type: ignore[attr-defined]  # which would keep them all
    return path


def measure(data: Path | None) -> dict[str, Any]:
    """Scan and split in a process of its own; without data only import what that takes."""
    command = [sys.executable, "-c", MEASURE, "" if data is None else str(data)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def measured(kind: str, number: int) -> dict[str, Any]:
    """Make a data set, measure, and remove it."""
    with tempfile.TemporaryDirectory(prefix="cpcnn-scan-") as folder:
        data = plant(Path(folder) / "data", kind, number)
        return {"kind": kind, "files": number, **measure(data)}


def table(results: list[dict[str, Any]]) -> str:
    """Return the results for people."""
    lines = [
        f"{'data':<16}{'files':>11}{'scan':>9}{'split':>9}{'us/file':>9}{'peak':>10}{'B/file':>8}"
    ]
    for row in results:
        seconds = row["scan_s"] + row["split_s"]
        extra = (row["peak_mb"] - row["modules_mb"]) * 2**20 / row["files"]
        lines.append(
            f"{row['kind']:<16}{row['files']:>11,}{row['scan_s']:>8.2f}s{row['split_s']:>8.2f}s"
            f"{seconds / row['files'] * 1e6:>9.1f}{row['peak_mb']:>7.0f} MB{extra:>8.0f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--files", type=int, default=FILES, help="files in class folders")
    parser.add_argument("--rows", type=int, nargs="*", default=list(ROWS), help="rows of a list")
    parser.add_argument("--kinds", nargs="*", choices=KINDS, default=list(KINDS))
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    given = parser.parse_args()
    results = []
    for kind in given.kinds:
        numbers = given.rows if kind == "list.csv" else [given.files]
        for number in numbers:
            results.append(measured(kind, number))
            print(f"{kind}, {number:,} files: done", file=sys.stderr)
    print(json.dumps(results, indent=2) if given.json else table(results))


if __name__ == "__main__":
    main()
