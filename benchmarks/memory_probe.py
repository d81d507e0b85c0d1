"""Peak memory of training steps, each side in a fresh process: `measure_memory` starts them.

python benchmarks/memory_probe.py '{"side": "cpcnn", "case": {…}, "threads": 2, "steps": 3}'
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeAlias

from cases import Case

Step: TypeAlias = Callable[[], object]

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # what Linux takes as: the peak begins anew at what is resident now
STEPS = 3  # the first one allocates, those after it show whether that is all
TINY = {"width": 1 / 16, "batch_size": 2}
SECONDS = 600
FIGURES = ("imported", "ready", "peak")


class MemoryUnknown(Exception):
    """This system does not tell how much memory a process has resident."""


# ---- In the benchmark ------------------------------------------------------------------------


def measure_memory(side: str, case: Case, threads: int, runs: int) -> dict[str, Any]:
    """Return bytes: the medians of `runs` processes that run steps of `case`, and every run's.

    "imported" is what is resident when everything is imported, "ready" after a step of a tiny
    network, which loads what is loaded at first use, and "peak" the most after both. Before several
    runs comes one that does not count: it leaves compiled programs on disk.
    """
    if not STATUS.exists():
        raise MemoryUnknown(f"there is no {STATUS} on this system")
    task = {"side": side, "case": asdict(case), "threads": threads, "steps": STEPS}
    if runs > 1:
        probe(task)
    results = [probe(task) for _ in range(runs)]
    medians = {name: statistics.median(run[name] for run in results) for name in FIGURES}
    return medians | {"runs": results}


def probe(task: dict[str, Any]) -> dict[str, Any]:
    command = [sys.executable, __file__, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        *_, last = done.stderr.strip().splitlines() or ["no message"]
        raise RuntimeError(f"the process with {task['side']} ended with {done.returncode}: {last}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


# ---- In the fresh process --------------------------------------------------------------------


def main() -> None:
    """Run the task of the command line, and print what was resident when."""
    task = json.loads(sys.argv[1])
    case = Case(**task["case"])
    make = importers()[task["side"].partition(" ")[0]](task)
    imported = resident("VmRSS")
    make(replace(case, **TINY))()
    gc.collect()
    ready = resident("VmRSS")
    reset = reset_peak()
    step = make(case)
    for _ in range(task["steps"]):
        step()
    figures = {"imported": imported, "ready": ready, "peak": resident("VmHWM"), "reset": reset}
    print(json.dumps(figures))


def importers() -> dict[str, Callable[[dict[str, Any]], Callable[[Case], Step]]]:
    return {"cpcnn": import_ours, "PyTorch": import_theirs}


def import_ours(task: dict[str, Any]) -> Callable[[Case], Step]:
    """Import our side alone, and return what makes a training step of a case."""
    from our_side import Ours, make_batch

    from cpcnn.devices import get_device

    device = get_device("cpu", threads=task["threads"])
    return lambda case: Ours(case, *make_batch(case), device).train


def import_theirs(task: dict[str, Any]) -> Callable[[Case], Step]:
    """The same of PyTorch: "PyTorch NCHW" names a variant."""
    import torch
    from contenders import CPU_VARIANTS, Theirs, make_batch

    torch.set_num_threads(task["threads"])
    variant = CPU_VARIANTS[task["side"].partition(" ")[2]]
    return lambda case: Theirs(case, *make_batch(case), None, variant).train


def resident(key: str) -> int:
    """Return bytes from /proc/self/status: VmRSS is resident now, VmHWM was at most."""
    for line in STATUS.read_text("utf-8").splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise MemoryUnknown(f"{STATUS} has no {key}")


def reset_peak() -> bool:
    """Forget the peak so far; False where that is not permitted, and imports may be the peak."""
    try:
        descriptor = os.open(CLEAR, os.O_WRONLY)
    except OSError:
        return False
    try:
        os.write(descriptor, RESET_PEAK.encode())
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


if __name__ == "__main__":
    main()
