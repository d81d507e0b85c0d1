"""Timing kernels alone: launches are written down while an op runs, and then repeated."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

from kernel_cases import KernelCase, random_array
from paired_timing import Call, Comparison

from cpcnn.core.context import Context, Policy
from cpcnn.devices import Device

Timed: TypeAlias = Callable[[Mapping[str, Call]], Comparison]

COPY = "copy"
KERNELS = "cpcnn"
COPY_BYTES = 1 << 30


class LaunchRecord(NamedTuple):
    """One launch, as a launcher takes it; its arrays stay alive."""

    kernel: Any
    instance: Any
    launch: Any
    values: list[Any]


class RecordingLauncher:
    """Launches as another launcher does, and writes down what it launched."""

    def __init__(self, launcher: Any) -> None:
        self._launcher = launcher
        self.launches: list[LaunchRecord] = []

    def address(self, array: Any) -> int:
        return self._launcher.address(array)

    def run(self, *launch: Any) -> None:
        self.launches.append(LaunchRecord(*launch))
        self._launcher.run(*launch)


class MissingKernel(Exception):
    """An op ran without the kernels that were to be measured."""


@contextmanager
def recorded(device: Any) -> Iterator[list[LaunchRecord]]:
    """Write down what a device launches meanwhile."""
    launcher = device.launcher
    device.launcher = RecordingLauncher(launcher)
    try:
        yield device.launcher.launches
    finally:
        device.launcher = launcher


def record_launches(case: KernelCase, device: Device, dtype: str) -> list[LaunchRecord]:
    """Run a case's op, and return the launches of its kernels.

    MissingKernel when one of them did not run: then the definition of the op took the call.
    """
    ctx = Context(device, training=True, grad=True, policy=Policy(compute=dtype))
    x = random_array(ctx, case.shape, case.stored or dtype)
    with recorded(device) as launches:
        case.run(ctx, x)
    missing = set(case.kernels) - {record.kernel.name for record in launches}
    if missing:
        raise MissingKernel(f"{', '.join(sorted(missing))} did not run on {dtype}")
    return [record for record in launches if record.kernel.name in case.kernels]


def time_kernels(case: KernelCase, device: Any, dtype: str, timed: Timed) -> Comparison:
    """Time the kernels of a case, in the order in which the op launches them."""
    with device.scope():
        launches = record_launches(case, device, dtype)

        def call() -> None:
            for record in launches:
                device.launcher.run(*record)

        return timed({KERNELS: call})


def time_copy(device: Any, timed: Timed) -> tuple[int, Comparison]:
    """Time a copy within the device's memory; return the bytes read and written as well."""
    with device.scope():
        source, target = (device.zeros((COPY_BYTES,), "uint8") for _ in range(2))
        return 2 * COPY_BYTES, timed({COPY: lambda: device.xp.copyto(target, source)})


def event_clock(call: Call, count: int) -> float:
    """Seconds of one call by the GPU's own clock, on the current stream."""
    import cupy

    start, end = cupy.cuda.Event(), cupy.cuda.Event()
    start.record()
    for _ in range(count):
        call()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(start, end)) / 1000 / count
