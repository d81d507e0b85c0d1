"""The GPU's benchmark, without a GPU: what it counts, what it times, and what it makes of both."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cpcnn.core.errors import DeviceError, DeviceMemoryError

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script finds its neighbours by their plain names."""
    monkeypatch.syspath_prepend(BENCHMARKS)


@pytest.fixture(scope="module")
def emulated() -> Any:
    """A device that launches the same kernels without a GPU."""
    from emulation import EmulatedCudaDevice, EmulatorUnavailable

    try:
        return EmulatedCudaDevice()
    except EmulatorUnavailable as reason:
        pytest.skip(str(reason))


def counting_clock(call: Any, count: int) -> float:
    """A clock by which every call takes a second."""
    for _ in range(count):
        call()
    return 1.0


def small(case: Any) -> Any:
    return replace(case, shape=(2, 8, 8, case.shape[3]) if len(case.shape) == 4 else (4099,))


# ---- Kernels: bytes and launches -------------------------------------------------------------

# What kernels read and overwrite counts twice; and this one reads a row of x for each part.
IN_PLACE = {"adam_update": ("value", "first", "second"), "bias_activation": ("y",)}
HARDLY_READ = ("batch_norm_statistics", "x")


def test_bytes_are_those_of_the_arrays_that_kernels_take(emulated: Any) -> None:
    from kernel_cases import KERNEL_CASES
    from kernel_timing import record_launches

    for case in map(small, KERNEL_CASES):
        for dtype in case.dtypes:
            with emulated.scope():
                launches = record_launches(case, emulated, dtype)
            moved = sum(
                value.nbytes * (1 + (name in IN_PLACE.get(kernel, ())))
                for kernel, name, value in arrays_of(launches)
                # vectors of a number per channel are left out
                if value.size >= math.prod(case.shape) / 8 and (kernel, name) != HARDLY_READ
            )
            assert case.bytes(dtype) == moved, f"{case.title}, {dtype}"


def arrays_of(launches: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield kernel, parameter and array for each array that was passed."""
    for kernel, _, _, values in launches:
        for parameter, value in zip(kernel.parameters, values, strict=True):
            if parameter.pointer and value is not None:
                yield kernel.name, parameter.name, value


def test_bytes_by_hand() -> None:
    from kernel_cases import column_traffic, input_traffic, max_pool_traffic, passes

    # 5 × 7 pixels of 3 channels: 105 numbers, 9 taps of each, 2 × 3 windows of 3 channels
    shape = (1, 5, 7, 3)
    assert passes(7)(shape, 4) == 7 * 105 * 4
    assert column_traffic(shape, 2) == (105 + 9 * 105) * 2
    assert max_pool_traffic(shape, 4) == 105 * 4 + 18 * 4 + 18
    assert input_traffic(shape, 2) == 105 + 105 * 2


def test_an_op_that_does_without_its_kernel_is_told(emulated: Any) -> None:
    from emulation import EmulatedCudaDevice
    from kernel_cases import KERNEL_CASES
    from kernel_timing import MissingKernel, record_launches

    class Plain(EmulatedCudaDevice):
        fast = {}  # noqa: RUF012

    device = Plain(emulated.launcher)
    with pytest.raises(MissingKernel, match="im2col did not run on float32"):
        record_launches(small(KERNEL_CASES[0]), device, "float32")
    assert device.launcher is emulated.launcher


def test_only_the_kernels_of_a_case_are_repeated(emulated: Any) -> None:
    from kernel_cases import KERNEL_CASES
    from kernel_timing import record_launches, time_kernels
    from paired_timing import compare

    (case,) = (small(c) for c in KERNEL_CASES if c.title == "batch norm, statistics")

    def timed(calls: Any) -> Any:
        emulated.launcher.launched.clear()
        return compare(
            calls, repeats=3, turn_seconds=2, clock=counting_clock, before_turn=lambda: None
        )

    timing = time_kernels(case, emulated, "float32", timed)
    assert timing.seconds == {"cpcnn": [1.0] * 3}
    counts = {name: count for (name, _), count in emulated.launcher.launched.items()}
    # two to warm up, one to find that a turn is two, and three turns with one more each
    assert counts == {"batch_norm_moments": 12, "batch_norm_statistics": 12}
    with emulated.scope():
        assert len(record_launches(case, emulated, "float32")) == 2


# ---- A run -----------------------------------------------------------------------------------


class Stub:
    """As much of `SharedDevice` as a run without PyTorch needs."""

    is_gpu = True
    place = "cpu"

    def __init__(self, device: Any = None) -> None:
        self.device = device

    def empty_caches(self) -> None:
        pass


def make_benchmark(device: Any, path: Path | None = None, *arguments: str) -> Any:
    from gpu_benchmark import Benchmark
    from gpu_vs_torch import parse
    from journal import Journal

    return Benchmark(Stub(device), Journal(path, {}), parse(["--quick", *arguments]))


def test_kernels_are_measured_beside_a_copy(
    emulated: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gpu_benchmark
    import kernel_timing
    from gpu_report import kernel_table
    from kernel_cases import KERNEL_CASES

    monkeypatch.setattr(kernel_timing, "COPY_BYTES", 3000)
    chosen = [small(case) for case in KERNEL_CASES if case.title == "max pool 2×2"]
    monkeypatch.setattr(gpu_benchmark, "KERNEL_CASES", chosen)
    path = tmp_path / "result.json"
    benchmark = make_benchmark(emulated, path)
    benchmark.kernels(counting_clock)
    assert not benchmark.failed
    document = json.loads(path.read_text("utf-8"))
    assert document["copy"] == {"bytes": 6000, "seconds": [1.0, 1.0]}
    assert [entry["dtype"] for entry in document["kernels"]] == ["float32", "float16", "bfloat16"]
    table = kernel_table(document["kernels"], document)
    # --quick takes four images: 16384 numbers, and 4096 windows with a byte each
    assert document["kernels"][0]["bytes"] == 16384 * 4 + 4096 * 5
    assert f"| {(16384 * 4 + 4096 * 5) / 6000:.0%} |" in table


def test_a_case_that_fails_does_not_end_the_run() -> None:
    benchmark = make_benchmark(None)

    def fail(error: Exception) -> Any:
        def measure() -> None:
            raise error

        return measure

    benchmark.attempt("networks", "large", fail(DeviceMemoryError("gpu is out of memory.")))
    assert not benchmark.failed  # too large for this GPU, that is all
    benchmark.attempt("networks", "broken", fail(ValueError("first line\nsecond line")))
    assert benchmark.failed
    assert benchmark.journal.document["networks"] == [
        {"title": "large", "reason": "DeviceMemoryError: gpu is out of memory."},
        {"title": "broken", "reason": "ValueError: first line"},
    ]


def test_when_time_is_over_no_case_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    import gpu_benchmark

    now = [100.0]
    monkeypatch.setattr(gpu_benchmark, "time", SimpleNamespace(monotonic=lambda: now[0]))
    benchmark = make_benchmark(None, None, "--seconds", "60")
    ran = []
    benchmark.attempt("networks", "early", lambda: ran.append("early"))
    now[0] += 60
    benchmark.attempt("networks", "late", lambda: ran.append("late"))
    assert ran == ["early"]
    assert not benchmark.failed
    (entry,) = benchmark.journal.document["networks"]
    assert entry["title"] == "late"
    assert "--seconds" in entry["reason"]


def test_a_run_that_is_cut_off_keeps_what_it_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import os

    from journal import Journal

    path = tmp_path / "result.json"
    journal = Journal(path, {"date": "today"})
    journal.add("kernels", {"title": "im2col"})

    def cut(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        journal.add("kernels", {"title": "col2im"})
    kept = json.loads(path.read_text("utf-8"))
    assert kept == {"date": "today", "kernels": [{"title": "im2col"}]}


def test_without_a_gpu_the_cause_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import gpu_vs_torch

    def no_gpu(name: str) -> None:
        assert name == "gpu"
        raise DeviceError("no GPU is visible.", suggestion="Unset CUDA_VISIBLE_DEVICES.")

    monkeypatch.setattr(gpu_vs_torch, "get_device", no_gpu)
    assert gpu_vs_torch.main([]) == 4
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == "error: no GPU is visible. Unset CUDA_VISIBLE_DEVICES.\n"


def test_a_pytorch_without_cuda_is_refused() -> None:
    from shared_device import SharedDevice

    torch = SimpleNamespace(
        __version__="2.13.0+cpu",
        version=SimpleNamespace(cuda=None),
        cuda=SimpleNamespace(is_available=lambda: False),
    )
    with pytest.raises(DeviceError, match=r"2\.13\.0\+cpu finds no GPU.*--only kernels"):
        SharedDevice(SimpleNamespace(index=0), torch)


def test_options() -> None:
    from cases import GPU_CASES, chosen_cases
    from gpu_vs_torch import parse

    options = parse([])
    assert options.only == ["kernels", "convolutions", "networks"]
    assert chosen_cases(GPU_CASES, options) == list(GPU_CASES)
    sizes = {(case.size, case.batch_size) for case in GPU_CASES}
    assert sizes == {(32, 128), (32, 512), (224, 128)}
    assert options.effort.repeats >= 9

    quick = parse(["--quick", "--networks", "simple", "--repeats", "3"])
    assert [str(case) for case in chosen_cases(GPU_CASES, quick)] == ["simple, 32×32×3, batch 8"]
    assert quick.effort.repeats == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--only", "layers"],
        ["--seconds", "0"],
        ["--json", "/no/such/folder/x.json"],
        ["--show", "/no/such/folder/x.json"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    from gpu_vs_torch import parse

    with pytest.raises(SystemExit) as refusal:
        parse(arguments)
    assert refusal.value.code == 2
    assert arguments[0] in capsys.readouterr().err


# ---- Timing and geometry ---------------------------------------------------------------------


def test_a_turn_is_over_when_the_gpu_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    import paired_timing

    now, queued = [0.0], [5.0]  # five seconds of work of somebody else

    def start() -> None:
        queued[0] += 2.0

    def wait() -> None:
        now[0] += queued[0]
        queued[0] = 0.0

    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(paired_timing, "time", clock)
    assert paired_timing.waiting_clock(wait)(start, 3) == 2.0


def test_geometries_keep_the_size_but_for_the_stride() -> None:
    from geometries import GEOMETRIES

    assert len({str(geometry) for geometry in GEOMETRIES}) == len(GEOMETRIES)
    for geometry in GEOMETRIES:
        side = -(-geometry.size // geometry.stride)
        assert geometry.output_shape == (geometry.images, side, side, geometry.filters)
        assert math.prod(geometry.kernel_shape) * geometry.groups == (
            geometry.kernel**2 * geometry.channels * geometry.filters
        )


# ---- Tables ----------------------------------------------------------------------------------


def make_document() -> dict[str, Any]:
    from dataclasses import asdict

    from cases import Case

    case = asdict(Case("resnet9", 32, 3, 1.0, 128))
    eager = {"cpcnn": [0.1] * 3, "PyTorch float32": [0.2] * 3, "PyTorch AMP": [0.05] * 3}
    compiled = {"cpcnn": [0.4] * 3, "PyTorch compiled AMP": [0.1] * 3}
    turns = {"cpcnn float32": [0.002] * 3, "PyTorch float32": [0.001] * 3}
    both = {"cpcnn float32": [0.006] * 3, "PyTorch float32": [0.003, 0.0005, 0.003]}
    return {
        "date": "2026-11-25T12:00:00+00:00",
        "command": "python benchmarks/gpu_vs_torch.py",
        "machine": {"device": "a GPU", "driver": None, "processor": "a CPU", "cores": 16},
        "versions": {"cpcnn": "0.1", "torch": "2"},
        "copy": {"bytes": 4_000_000, "seconds": [0.001, 0.002, 0.003]},
        "kernels": [
            {
                "title": "im2col",
                "shape": [512, 32, 32, 64],
                "dtype": "float32",
                "bytes": 1_000_000,
                "seconds": [0.0005, 0.001, 0.001],
            },
            {"title": "Adam, float32", "reason": "DeviceMemoryError: full"},
        ],
        "convolutions": [
            {
                "title": "3×3",
                "images": "1×2×3×4→5",
                "passes": {"forward": turns, "weight gradient": turns, "both gradients": both},
            }
        ],
        "networks": [
            {"title": "resnet9", "case": case, "mode": "training", "seconds": eager},
            {"title": "resnet9", "case": case, "mode": "training", "seconds": compiled},
        ],
    }


def test_tables_say_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gpu_vs_torch

    path = tmp_path / "result.json"
    path.write_text(json.dumps(make_document()), "utf-8")
    assert gpu_vs_torch.main(["--show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| im2col | 512×32×32×64 | float32 | 1 | 1,000 | 1 | 50% |" in lines
    nothing = " – |" * 5
    assert f"| 3×3 | 1×2×3×4→5 | forward | 2.000 | 1.000 | 0.50 |{nothing}" in lines
    # PyTorch's data gradient is below zero in one round: a difference that is lost in the noise
    assert f"| 3×3 | 1×2×3×4→5 | data gradient | 4.000 | – | – |{nothing}" in lines
    # ratios belong to their rounds: the compiled program met a slower cpcnn
    assert "| resnet9 | 32×32×3 | 128 | 1,280 | 640 (2.00) | 2,560 (0.50) | – | 1,280 (0.25) |" in (
        lines
    )
    assert "- kernels: Adam, float32: DeviceMemoryError: full" in lines
    for row in (line for line in lines if line.startswith("|")):
        assert row.endswith(" |")


def test_a_run_that_measured_nothing_has_a_heading() -> None:
    from gpu_report import heading, tables

    document = make_document()
    for section in ("kernels", "convolutions", "networks", "copy"):
        del document[section]
    assert tables(document) == heading(document) + "\n"


# ---- Both sides, on the CPU ------------------------------------------------------------------


@pytest.mark.oracle
def test_a_run_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import gpu_benchmark
    import gpu_vs_torch
    from geometries import Geometry

    geometries = [
        Geometry("stem", 4, 9, 3, 8, kernel=7, stride=2),
        Geometry("depthwise, dilated", 4, 8, 8, 8, dilation=2, groups=8),
    ]
    monkeypatch.setattr(gpu_benchmark, "GEOMETRIES", geometries)
    path = tmp_path / "result.json"
    arguments = ["--device", "cpu", "--quick", "--no-compile", "--networks", "simple"]
    assert gpu_vs_torch.main([*arguments, "--width", "0.125", "--json", str(path)]) == 0
    document = json.loads(path.read_text("utf-8"))
    assert [entry["title"] for entry in document["convolutions"]] == ["stem", "depthwise, dilated"]
    assert [entry["mode"] for entry in document["networks"]] == ["training", "inference"]
    for entry in document["networks"]:
        assert {len(turns) for turns in entry["seconds"].values()} == {2}
        assert set(entry["seconds"]) == {"cpcnn", "PyTorch float32", "PyTorch AMP"}
    assert "| simple ×0.125 | 32×32×3 | 8 |" in capsys.readouterr().out


@pytest.mark.oracle
def test_another_convolution_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import convolutions
    from geometries import Geometry

    from cpcnn.devices import get_device

    geometry = Geometry("3×3", 4, 8, 4, 8)
    device = get_device("numpy")
    assert convolutions.compare_results(geometry, device, "cpu") <= convolutions.TOLERANCE
    flipped = convolutions.TheirConvolution.forward

    def forward(self: Any) -> Any:
        return flipped(self).flip(2)

    monkeypatch.setattr(convolutions.TheirConvolution, "forward", forward)
    assert convolutions.compare_results(geometry, device, "cpu") > convolutions.TOLERANCE
