"""The CPU beside PyTorch on the same cores: networks, convolutions, latency, memory, scaling.

    python benchmarks/cpu_vs_torch.py --json result.json

Method and results are in docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from command_line import add_case_options, check_target, describe_command, positive, say, warn
from journal import Journal
from machine import describe_machine, describe_versions
from paired_timing import REPEATS
from report import PARTS, tables

from cpcnn.core.errors import CpcnnError
from cpcnn.devices import Device, get_device

SCHEMA_VERSION = 2
QUICK_WIDTH, QUICK_BATCH_SIZE = 0.125, 4
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and keep the JSON document up to date if one was asked for."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    if options.show:
        return show(options.show)
    try:
        import torch
    except ImportError:
        say("PyTorch is not installed. Try: pip install -e '.[oracle]'")
        return 2
    from cpu_benchmark import QUICK, CpuBenchmark, Effort

    effort = QUICK if options.quick else Effort()
    options.effort = replace(effort, repeats=options.repeats or effort.repeats)
    try:
        device = get_device("cpu", threads=options.threads)
    except CpcnnError as error:
        say(f"error: {error}")
        return error.exit_code
    torch.set_num_threads(device.threads)  # type: ignore[attr-defined]
    # a program that is compiled too often would go on eagerly, and be timed as a compiled one
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    journal = Journal(options.json, describe_run(given, options, device))
    warn(options.effort.repeats, journal.document["machine"]["load_before"])
    benchmark = CpuBenchmark(device, journal, options)
    status = 0
    try:
        benchmark.run()
    except KeyboardInterrupt:
        say("Interrupted: what was measured so far follows.")
        status = INTERRUPTED
    print(tables(journal.document), end="")
    return status or int(benchmark.failed)


def show(path: Path) -> int:
    """Print the tables of a document that was written before."""
    document = json.loads(path.read_text("utf-8"))
    if document.get("schema_version") != SCHEMA_VERSION:
        say(f"error: {path} was written by another version of this benchmark.")
        return 2
    print(tables(document), end="")
    return 0


def describe_run(given: list[str], options: argparse.Namespace, device: Device) -> dict[str, Any]:
    """Return what the figures of a run depend on, as plain JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        **describe_command(__file__, given),
        "machine": describe_machine(device) | {"threads": device.threads},  # type: ignore[attr-defined]
        "versions": describe_versions(),
        "repeats": options.effort.repeats,
    }


# ---- What is asked for -----------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Networks, convolutions, latency, memory and scaling beside PyTorch, on the "
        "same cores, in one process, in turns. Ratios above 1: cpcnn is faster.",
        epilog="Size, channels, width and batch size apply to all networks; without them each has "
        "its own. A figure is worth something only if nothing else runs on the machine.",
    )
    count, add = positive(int), parser.add_argument
    add(
        "--only",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help=", ".join(PARTS),
    )
    add_case_options(parser)
    add("--repeats", type=count, metavar="N", help=f"turns of each side (default: {REPEATS})")
    add("--threads", type=count, metavar="N", help="of each side (default: the usable cores)")
    add("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE as they come")
    add("--show", type=Path, metavar="FILE", help="print the tables of such a file, and end")
    add("--quick", action="store_true", help="few turns of tiny networks: does it run?")
    options = parser.parse_args(arguments)
    check_target(parser, options.json)
    if options.show and not options.show.is_file():
        parser.error(f"argument --show: there is no file {options.show}")
    if options.quick:
        options.width = options.width or QUICK_WIDTH
        options.batch_size = options.batch_size or QUICK_BATCH_SIZE
    return options


if __name__ == "__main__":
    sys.exit(main())
