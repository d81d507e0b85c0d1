"""Training and inference on the CPU beside PyTorch: the same networks, weights, images and threads.

    python benchmarks/cpu_vs_torch.py

Method and results are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cases import CPU_CASES, Case, chosen_cases
from command_line import add_case_options, check_target, describe_command, positive, say, warn
from machine import describe_machine, describe_versions
from paired_timing import REPEATS, Call, compare
from report import OURS, THEIRS, Result, as_json, heading, table

from cpcnn.core.errors import CpcnnError
from cpcnn.devices import Device, get_device

SCHEMA_VERSION = 1
TURN_SECONDS = 0.2
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
            for case in chosen_cases(CPU_CASES, options)
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
        **describe_command(__file__, given),
        "machine": describe_machine(device) | {"threads": device.threads},  # type: ignore[attr-defined]
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
    add_case_options(parser)
    count, add = positive(int), parser.add_argument
    add("--repeats", type=count, metavar="N", help=f"turns of each side (default: {REPEATS})")
    add("--threads", type=count, metavar="N", help="of each side (default: the usable cores)")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE as well")
    add("--quick", action="store_true", help="few turns of few images: does it run?")
    options = parser.parse_args(arguments)
    options.repeats = options.repeats or (QUICK_REPEATS if options.quick else REPEATS)
    options.turn_seconds = QUICK_TURN_SECONDS if options.quick else TURN_SECONDS
    if options.quick:
        options.batch_size = options.batch_size or QUICK_BATCH_SIZE
    check_target(parser, options.json)
    return options


# ---- Measuring -------------------------------------------------------------------------------


def measure(case: Case, device: Device, repeats: int, turn_seconds: float) -> Result:
    """Build both sides, see that they compute the same, and time them."""
    from contenders import CPU_VARIANTS, Ours, Theirs, compare_results, make_batch

    batch, preprocessing = make_batch(case)
    ours = Ours(case, batch, preprocessing, device)
    theirs = {
        f"{THEIRS} {name}": Theirs(case, batch, preprocessing, ours.network, variant)
        for name, variant in CPU_VARIANTS.items()
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


if __name__ == "__main__":
    sys.exit(main())
