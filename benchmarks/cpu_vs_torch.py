"""Training and inference on the CPU beside PyTorch: the same networks, weights, images and threads.

    python benchmarks/cpu_vs_torch.py

Method and results are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import DEFAULT_CASES, NETWORKS, Case
from machine import BUSY, describe_machine, describe_versions
from paired_timing import Call, compare
from report import OURS, THEIRS, Result, as_json, heading, table

from cpcnn.core.errors import CpcnnError
from cpcnn.devices import Device, get_device

SCHEMA_VERSION = 1
REPEATS, TURN_SECONDS = 9, 0.2
QUICK_REPEATS, QUICK_TURN_SECONDS, QUICK_BATCH_SIZE = 2, 0.01, 8


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and write the JSON document if one was asked for."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    try:
        import torch
    except ImportError:
        say("PyTorch is not installed. Try: pip install -e '.[oracle]'")
        return 2
    device = get_device("cpu", threads=options.threads)
    torch.set_num_threads(device.threads)  # type: ignore[attr-defined]
    facts = describe_run(given, options, device)
    print(heading(facts))
    warn(options.repeats, facts["machine"]["load_before"])
    try:
        results = [
            measure(case, device, options.repeats, options.turn_seconds)
            for case in chosen_cases(options)
        ]
    except CpcnnError as error:
        say(f"error: {error}")
        return error.exit_code
    print(table("Training step", [(result.case, result.training) for result in results]))
    print(table("Inference", [(result.case, result.inference) for result in results]))
    if options.json:
        document = facts | {"results": [as_json(result) for result in results]}
        options.json.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return 0


def describe_run(given: list[str], options: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Return what the figures of a run depend on, as plain JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "benchmark": "cpu_vs_torch",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", f"benchmarks/{Path(__file__).name}", *given]),
        "machine": describe_machine(device),
        "versions": describe_versions(),
        "repeats": options.repeats,
    }


# ---- What is asked for -----------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Images per second in training and inference beside PyTorch, on the same "
        "cores, in one process, in turns. Ratios above 1: cpcnn is faster.",
        epilog="Size, channels, width and batch size apply to all networks; without them each has "
        "its own. A figure is worth something only if nothing else runs on the machine.",
    )
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
    add("--repeats", type=count, metavar="N", help=f"turns of each side (default: {REPEATS})")
    add("--threads", type=count, metavar="N", help="of each side (default: the usable cores)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE as well")
    add("--quick", action="store_true", help="few turns of few images: does it run?")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    options.turn_seconds = QUICK_TURN_SECONDS if options.quick else TURN_SECONDS
    if options.quick:
        options.batch_size = options.batch_size or QUICK_BATCH_SIZE
    if options.json and not options.json.parent.is_dir():
        parser.error(f"argument --json: there is no folder {options.json.parent}")
    return options


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


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    """Return what to measure: the default cases of the networks, with what was asked for."""
    asked = {
        name: getattr(options, name)
        for name in ("size", "channels", "width", "batch_size")
        if getattr(options, name) is not None
    }
    chosen = [case for case in DEFAULT_CASES if case.network in options.networks]
    return list(dict.fromkeys(replace(case, **asked) for case in chosen))


# ---- Measuring -------------------------------------------------------------------------------


def measure(case: Case, device: Device, repeats: int, turn_seconds: float) -> Result:
    """Build both sides, see that they compute the same, and time them."""
    from contenders import LAYOUTS, Ours, Theirs, compare_results, make_batch

    batch, preprocessing = make_batch(case)
    ours = Ours(case, batch, preprocessing, device)
    theirs = {
        f"{THEIRS} {layout}": Theirs(case, batch, preprocessing, ours.network, layout)
        for layout in LAYOUTS
    }
    sameness = compare_results(ours, theirs.values())
    say(f"{case}: {sameness}")
    if not sameness.holds:
        raise SystemExit("The two sides do not compute the same: nothing to compare.")
    contenders: dict[str, Any] = {OURS: ours, **theirs}
    training = compare(calls(contenders, "train"), repeats=repeats, turn_seconds=turn_seconds)
    for contender in contenders.values():
        contender.start_inference()
    inference = compare(calls(contenders, "infer"), repeats=repeats, turn_seconds=turn_seconds)
    return Result(case, ours.network.num_parameters, sameness, training, inference)


def calls(contenders: dict[str, Any], method: str) -> dict[str, Call]:
    return {name: getattr(contender, method) for name, contender in contenders.items()}


def warn(repeats: int, busy: float | None) -> None:
    """Say what makes the figures of this run worth less."""
    if repeats < REPEATS:
        say(f"Fewer than {REPEATS} turns of each side: do not publish these figures.")
    if busy is not None and busy > BUSY:
        say(f"Other work runs on this machine (load {busy}): do not publish these figures.")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
