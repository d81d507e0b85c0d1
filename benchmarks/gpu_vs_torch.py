"""The GPU: kernels beside a copy, convolutions and networks beside PyTorch on the same GPU.

    python benchmarks/gpu_vs_torch.py --json result.json

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
from gpu_benchmark import PARTS, QUICK, Benchmark, Effort
from gpu_report import tables
from journal import Journal
from machine import GPU_PACKAGES, describe_cuda, describe_machine, describe_versions, driver_version
from paired_timing import REPEATS
from shared_device import SharedDevice

from cpcnn.core.errors import DeviceError
from cpcnn.devices import Device, get_device

SCHEMA_VERSION = 1
SECONDS = 330
QUICK_SIZE, QUICK_BATCH_SIZE = 32, 8
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and keep the JSON document up to date if one was asked for."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = parse(given)
    if options.show:
        print(tables(json.loads(options.show.read_text("utf-8"))), end="")
        return 0
    try:
        device = get_device(options.device)
        torch = None if options.only == ["kernels"] else prepare_torch()
        shared = SharedDevice(device, torch)
    except DeviceError as error:
        say(f"error: {error}")
        return error.exit_code
    except ImportError:
        say("PyTorch is not installed. Try: pip install -e '.[oracle]', or --only kernels")
        return 2
    journal = Journal(options.json, describe_run(given, options, device, torch))
    warn(options.effort.repeats, journal.document["machine"]["load_before"])
    benchmark = Benchmark(shared, journal, options)
    status = 0
    try:
        benchmark.run()
    except KeyboardInterrupt:
        say("Interrupted: what was measured so far follows.")
        status = INTERRUPTED
    print(tables(journal.document), end="")
    return status or int(benchmark.failed)


def prepare_torch() -> Any:
    """Import PyTorch, with float32 that is float32, and algorithms chosen by measurement."""
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    # a program that is compiled too often would go on eagerly, and be timed as a compiled one
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch


def describe_run(
    given: list[str], options: argparse.Namespace, device: Device, torch: Any
) -> dict[str, Any]:
    """Return what the figures of a run depend on, as plain JSON values."""
    versions = describe_versions(GPU_PACKAGES)
    if hasattr(device, "index"):
        versions |= describe_cuda(torch)
    return {
        "schema_version": SCHEMA_VERSION,
        **describe_command(__file__, given),
        "machine": describe_machine(device) | {"driver": driver_version()},
        "versions": versions,
        "repeats": options.effort.repeats,
    }


# ---- What is asked for -----------------------------------------------------------------------


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Bandwidth of kernels beside that of a copy; milliseconds of convolutions and "
        "images per second of networks beside PyTorch, in one process, in turns. Ratios above 1: "
        "cpcnn is faster.",
        epilog="Size, channels, width and batch size apply to all networks; without them each has "
        "its own. A figure is worth something only if nothing else runs on the GPU.",
    )
    add, count = parser.add_argument, positive(int)
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
    add("--seconds", type=count, default=SECONDS, metavar="N", help="then begin no other case")
    add("--no-compile", action="store_true", help="leave torch.compile out: it takes minutes")
    add("--device", default="gpu", metavar="NAME", help="gpu, gpu:N; cpu shows that it runs")
    add("--json", type=Path, metavar="FILE", help="write all figures to FILE as they come")
    add("--show", type=Path, metavar="FILE", help="print the tables of such a file, and end")
    add("--quick", action="store_true", help="few turns of few images: does it run?")
    options = parser.parse_args(arguments)
    check_target(parser, options.json)
    if options.show and not options.show.is_file():
        parser.error(f"argument --show: there is no file {options.show}")
    options.effort = QUICK if options.quick else Effort()
    if options.repeats:
        options.effort = replace(options.effort, repeats=options.repeats)
    if options.quick:
        options.size = options.size or QUICK_SIZE
        options.batch_size = options.batch_size or QUICK_BATCH_SIZE
    return options


if __name__ == "__main__":
    sys.exit(main())
