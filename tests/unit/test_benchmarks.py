"""The benchmark times what it says: fair turns, true ratios, and twins that compute the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cpcnn.networks import NETWORKS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _as_a_script(monkeypatch: pytest.MonkeyPatch) -> None:
    """A script finds its neighbours by their plain names."""
    monkeypatch.syspath_prepend(BENCHMARKS)


class Clock:
    """A clock that moves when somebody works, sleeps or spins."""

    def __init__(self, spinning: float = 0.0) -> None:
        self.now = self.computed = 0.0
        self.spinning = spinning  # seconds for which idle threads go on computing

    def work(self, seconds: float) -> None:
        self.now += seconds
        self.computed += seconds

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        spun = min(seconds, self.spinning)
        self.computed += spun
        self.spinning -= spun

    def as_module(self) -> Any:
        return SimpleNamespace(
            perf_counter=lambda: self.now, process_time=lambda: self.computed, sleep=self.sleep
        )


def test_contenders_take_turns_and_are_timed_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    import paired_timing

    clock = Clock()
    monkeypatch.setattr(paired_timing, "time", clock.as_module())
    log: list[str] = []

    def contender(name: str, seconds: float) -> Any:
        def call() -> None:
            clock.work(seconds)
            if not log or log[-1] != name:
                log.append(name)

        return call

    contenders = {"cpcnn": contender("cpcnn", 0.1), "PyTorch NCHW": contender("torch", 0.2)}
    timing = paired_timing.compare(contenders, repeats=3, turn_seconds=0.4)
    assert log == ["cpcnn", "torch"] * 4  # the warm-up and three rounds
    assert timing.seconds["cpcnn"] == pytest.approx([0.1] * 3)
    assert timing.ratio("PyTorch NCHW", "cpcnn") == pytest.approx(2)
    assert timing.quartiles("PyTorch NCHW", "cpcnn") == pytest.approx((2, 2))


def test_a_turn_waits_until_idle_threads_stop_spinning(monkeypatch: pytest.MonkeyPatch) -> None:
    import paired_timing

    clock = Clock(spinning=0.2)
    monkeypatch.setattr(paired_timing, "time", clock.as_module())
    paired_timing.come_to_rest()
    assert 0.2 < clock.now < 0.25

    clock.spinning = float("inf")
    with pytest.raises(RuntimeError, match="keep spinning"):
        paired_timing.come_to_rest()


def test_the_better_layout_of_pytorch_counts() -> None:
    from paired_timing import Comparison

    timing = Comparison(
        {
            "cpcnn": [2.0, 2.0, 4.0],
            "PyTorch NCHW": [3.0, 9.0, 3.0],
            "PyTorch channels_last": [5.0, 5.0, 5.0],
        }
    )
    best = timing.fastest("PyTorch")
    assert best == "PyTorch NCHW"
    assert timing.ratio(best, "cpcnn") == 1.5


def test_options_apply_to_every_network_once() -> None:
    import cpu_vs_torch
    from cases import CPU_CASES, Case, chosen_cases

    options = cpu_vs_torch.parse(["--networks", "simple", "--size", "32", "--channels", "3"])
    assert chosen_cases(CPU_CASES, options) == [Case("simple", 32, 3, 1.0, 64)]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--size", "0"],
        ["--width", "nan"],
        ["--networks", "vgg"],
        ["--only", "layers"],
        ["--json", "/no/such/folder/x.json"],
        ["--show", "/no/such/folder/x.json"],
    ],
)
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    import cpu_vs_torch

    with pytest.raises(SystemExit) as refusal:
        cpu_vs_torch.parse(arguments)
    assert refusal.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_quick_takes_small_networks() -> None:
    import cpu_vs_torch
    from cases import CPU_CASES, chosen_cases

    options = cpu_vs_torch.parse(["--quick", "--batch-size", "2"])
    small = chosen_cases(CPU_CASES, options)
    assert len(small) == len(CPU_CASES)
    assert {(case.width, case.batch_size) for case in small} == {(0.125, 2)}


# ---- Latency, memory, geometries -------------------------------------------------------------


def test_calls_are_timed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import latency

    clock = Clock()
    monkeypatch.setattr(latency, "time", clock.as_module())
    made = {"cpcnn": 0, "PyTorch NCHW": 0}

    def contender(name: str, seconds: float) -> Any:
        def call() -> None:
            made[name] += 1
            # every tenth call is slow
            clock.work(seconds * (5 if made[name] % 10 == 0 else 1))

        return call

    contenders = {"cpcnn": contender("cpcnn", 0.01), "PyTorch NCHW": contender("PyTorch NCHW", 0.1)}

    def measured(seconds: float) -> Any:
        return latency.measure_latencies(
            contenders, calls=200, seconds=seconds, before_turn=lambda: None
        )

    taken = measured(1000.0)
    assert {len(seconds) for seconds in taken.values()} == {200}
    p50, p90, p99 = latency.percentiles(taken)["cpcnn"]
    assert p50 == pytest.approx(0.01)
    assert p90 <= p99 == pytest.approx(0.05)
    # so many of the slower one fit four seconds, and of both as many are made
    made.update(dict.fromkeys(made, 0))
    taken = measured(4.1)
    assert {len(seconds) for seconds in taken.values()} == {40}


def test_a_turn_is_within_its_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import contextmanager

    import paired_timing

    inside: list[str] = []

    @contextmanager
    def around(name: str) -> Any:
        inside.append(name)
        yield
        inside.remove(name)

    def contender(name: str) -> Any:
        def call() -> None:
            assert inside == [name]

        return call

    paired_timing.compare(
        {name: contender(name) for name in ("a", "b")},
        repeats=2,
        turn_seconds=0.0,
        before_turn=lambda: inside.clear(),
        around=around,
    )


# In a large process memory is given back at any time, and what is resident moves by itself.
PEAK_AND_AFTER_RESET = """
import memory_probe
reset = memory_probe.reset_peak()
size, before = 64 << 20, memory_probe.resident("VmRSS")
block = bytearray(size)
block[:: 1 << 10] = b"x" * len(block[:: 1 << 10])
del block
peak = memory_probe.resident("VmHWM") - before
again = memory_probe.reset_peak()
print(reset, again, peak / size, (memory_probe.resident("VmHWM") - before) / size)
"""


def test_the_peak_of_memory_is_that_since_the_reset() -> None:
    import memory_probe

    if not memory_probe.STATUS.exists():
        pytest.skip("this system does not tell the memory of a process")
    with pytest.raises(memory_probe.MemoryUnknown):
        memory_probe.resident("VmNothing")
    command = [sys.executable, "-c", PEAK_AND_AFTER_RESET]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)
    reset, again, peak, after = done.stdout.split()
    if reset == "False":
        pytest.skip("this system does not forget the peak")
    assert again == "True"
    assert float(peak) > 0.9
    assert float(after) < 0.5


def test_a_process_that_fails_tells_why() -> None:
    import memory_probe
    from cases import Case

    case = Case("no such network", 8, 1, 1.0, 1)
    if not memory_probe.STATUS.exists():
        pytest.skip("this system does not tell the memory of a process")
    with pytest.raises(RuntimeError, match=r"cpcnn ended with 1.*no network named"):
        memory_probe.measure_memory("cpcnn", case, threads=1, runs=1)


def test_thirty_geometries_on_the_cpu() -> None:
    from geometries import CPU_GEOMETRIES

    assert len({str(geometry) for geometry in CPU_GEOMETRIES}) == len(CPU_GEOMETRIES) == 30
    for geometry in CPU_GEOMETRIES:
        side = -(-geometry.size // geometry.stride)
        assert geometry.output_shape == (geometry.images, side, side, geometry.filters)


def test_quick_takes_one_geometry_of_each_kind() -> None:
    from geometries import CPU_GEOMETRIES, one_of_each_kind

    chosen = one_of_each_kind(CPU_GEOMETRIES)
    assert len(chosen) == len({geometry.kind for geometry in CPU_GEOMETRIES}) == 10
    assert chosen[0] == CPU_GEOMETRIES[0]
    assert {geometry.groups for geometry in chosen} == {1, 4, 128}


def test_geometries_named_after_networks_are_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    from cases import CPU_CASES
    from geometries import CPU_GEOMETRIES

    from cpcnn.layers import Conv2D
    from cpcnn.networks import build_network

    found = set()
    build = Conv2D.build

    def recorded(self: Any, shape: Any) -> Any:
        output = build(self, shape)
        found.add(
            (case.network, case.batch_size, shape, self.kernel.shape, self.window(*shape[:2]))
        )
        return output

    monkeypatch.setattr(Conv2D, "build", recorded)
    for case in CPU_CASES:
        build_network(case.network, case.shape, 10).build(case.shape)
    named = [geometry for geometry in CPU_GEOMETRIES if "simple" in geometry.title]
    named += [geometry for geometry in CPU_GEOMETRIES if "resnet" in geometry.title]
    assert len(named) == 23
    for geometry in named:
        network = next(name for name in geometry.title.split(", ") if name in NETWORKS)
        images, *shape = geometry.input_shape
        key = (network, images, tuple(shape), geometry.kernel_shape, geometry.window)
        assert key in found, geometry


# ---- Tables ----------------------------------------------------------------------------------


def make_document() -> dict[str, Any]:
    from dataclasses import asdict

    from cases import Case

    case = asdict(Case("resnet9", 32, 3, 0.5, 100))
    ours, nchw, last = "cpcnn", "PyTorch NCHW", "PyTorch channels_last"
    training = {ours: [0.1] * 3, nchw: [0.25] * 3, last: [0.2, 0.2, 0.3]}
    turns = {ours: [0.002] * 3, nchw: [0.001] * 3, last: [0.003] * 3}
    # the data gradients are 4, 2 and 3 ms; one round of ours was disturbed
    both = {ours: [0.006, 0.001, 0.006], nchw: [0.003] * 3, last: [0.006] * 3}
    mib = 1 << 20
    return {
        "schema_version": 2,
        "date": "2026-11-25T12:00:00+00:00",
        "command": "python benchmarks/cpu_vs_torch.py",
        "machine": {"device": "2 threads", "processor": "a CPU", "cores": 2},
        "versions": {"cpcnn": "0.1", "torch": "2"},
        "seconds": 90,
        "networks": [
            {"title": "resnet9", "case": case, "mode": "training", "seconds": training},
            {"title": "torch.compile", "reason": "InvalidCxxCompiler: no g++"},
        ],
        "convolutions": [
            {
                "title": "3×3",
                "images": "1×2×3×4→5",
                "passes": {"forward": turns, "weight gradient": turns, "both gradients": both},
            }
        ],
        "latency": [
            {
                "title": "resnet9",
                "case": case | {"batch_size": 1},
                "calls": 1000,
                "percentiles": {
                    ours: [0.003, 0.004, 0.005],
                    "cpcnn predict": [0.002, 0.004, 0.008],
                    nchw: [0.004, 0.004, 0.004],
                    last: [0.005, 0.005, 0.005],
                },
            }
        ],
        "memory": [
            {
                "title": "resnet9",
                "case": case,
                "bytes": {
                    ours: {"imported": 40 * mib, "ready": 50 * mib, "peak": 150 * mib},
                    nchw: {"imported": 200 * mib, "ready": 300 * mib, "peak": 450 * mib},
                },
            }
        ],
        "scaling": [
            {
                "title": "resnet9",
                "case": case,
                "threads": [1, 2],
                "seconds": {
                    f"{name}, {count}": [seconds / count] * 3
                    for name, (seconds,) in ((ours, [0.2]), (nchw, [0.4]), (last, [0.5]))
                    for count in (1, 2)
                },
            }
        ],
        "loading": [
            {
                "title": "resnet9",
                "case": case,
                "seconds": {
                    "same batch": [0.1] * 3,
                    "from memory": [0.1] * 3,
                    "from files": [0.125] * 3,
                    "from memory, loading alone": [0.001] * 3,
                    "from files, loading alone": [0.1] * 3,
                },
            }
        ],
    }


def test_tables_say_what_was_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cpu_vs_torch

    path = tmp_path / "result.json"
    path.write_text(json.dumps(make_document()), "utf-8")
    assert cpu_vs_torch.main(["--show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for expected in (
        # the faster layout is bold, and the ratio is to it
        "| resnet9 ×0.5 | 32×32×3 | 100 | 1,000 | 400 | **500** | – | – | 2.00 (2.00–2.50) |",
        "| 3×3 | 1×2×3×4→5 | forward | 2.000 | 1.000 | 3.000 | 0.50 |",
        "| 3×3 | 1×2×3×4→5 | data gradient | 4.000 | 2.000 | 3.000 | 0.50 |",
        "| resnet9 ×0.5 | 32×32×3 | 1000 | `predict` | 2.00 | 4.00 | 8.00 "
        "| NCHW | 4.00 | 4.00 | 4.00 | 2.00 | 1.00 | 0.50 |",
        "| resnet9 ×0.5 | 32×32×3 | 100 | cpcnn | 100 | 110 | 150 | – |",
        "| resnet9 ×0.5 | 32×32×3 | 100 | PyTorch NCHW | 150 | 250 | 450 | 1.50 |",
        "| resnet9 ×0.5 | 32×32×3 | 100 | 2 | 1,000 | 2.00 | 500 | 2.00 | 2.00 |",
        "| resnet9 ×0.5 | 32×32×3 | 100 | from files | 800 | 0.80 | 1,000 | 500 |",
        "- networks: torch.compile: InvalidCxxCompiler: no g++",
        "- 3×3, 1×2×3×4→5, data gradient: 0.50",
    ):
        assert expected in lines
    assert any("0 of 3 passes; in all three passes 0 of 1 geometries" in line for line in lines)


def test_a_document_of_another_version_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cpu_vs_torch

    path = tmp_path / "result.json"
    path.write_text(json.dumps({"schema_version": 1}), "utf-8")
    assert cpu_vs_torch.main(["--show", str(path)]) == 2
    assert "another version" in capsys.readouterr().err


# ---- Both sides ------------------------------------------------------------------------------


@pytest.mark.oracle
def test_a_run_measures_all_parts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import cpu_benchmark
    import cpu_vs_torch
    from geometries import Geometry

    geometries = [
        Geometry("stem", 4, 9, 3, 8, kernel=7, stride=2),
        Geometry("depthwise, dilated", 4, 8, 8, 8, dilation=2, groups=8),
    ]
    monkeypatch.setattr(cpu_benchmark, "CPU_GEOMETRIES", geometries)
    path = tmp_path / "result.json"
    arguments = ["--quick", "--no-compile", "--networks", "simple", "--threads", "2"]
    assert cpu_vs_torch.main([*arguments, "--json", str(path)]) == 0
    document = json.loads(path.read_text("utf-8"))
    assert [entry["mode"] for entry in document["networks"]] == ["training", "inference"] * 2
    assert [entry["title"] for entry in document["convolutions"]] == ["stem", "depthwise, dilated"]
    (latency,), (memory,) = document["latency"], document["memory"]
    assert latency["calls"] == 20
    assert set(latency["percentiles"]) == {
        *("cpcnn", "cpcnn predict", "PyTorch NCHW", "PyTorch channels_last")
    }
    for figures in memory["bytes"].values():
        assert 0 < figures["imported"] <= figures["ready"] <= figures["peak"]
    (scaling,), (loading,) = document["scaling"], document["loading"]
    assert scaling["threads"] == [1, 2]
    assert len(loading["seconds"]) == 5
    shown = capsys.readouterr().out
    assert "Not measured" not in shown
    assert "### Peak memory" in shown


@pytest.mark.oracle
def test_without_a_compiler_the_table_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import cpu_vs_torch
    import torch
    from cpu_benchmark import QUICK, CpuBenchmark
    from journal import Journal

    from cpcnn.devices import get_device

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setattr(torch, "compile", broken)
    options = cpu_vs_torch.parse(["--quick", "--networks", "simple", "--size", "28"])
    options.effort = QUICK
    benchmark = CpuBenchmark(get_device("cpu"), Journal(None, {}), options)
    benchmark.networks()
    first, *entries = benchmark.journal.document["networks"]
    assert first == {"title": "torch.compile", "reason": "RuntimeError: no C++ compiler"}
    assert len(entries) == 4
    assert not benchmark.failed


@pytest.mark.oracle
def test_a_network_that_cannot_be_compiled_is_left_out() -> None:
    from cases import Case
    from contenders import Theirs, Variant
    from sides import Sides

    from cpcnn.devices import get_device

    def fail(*_: Any) -> Any:
        raise RuntimeError("this program cannot be compiled")

    told: list[str] = []
    case = Case("simple", 28, 3, 0.125, 2)
    variants = {"NCHW": Variant("NCHW"), "compiled NCHW": Variant("NCHW", compiled=True)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Theirs,
            "_prepared",
            lambda self, function: fail if self.variant.compiled else function,
        )
        sides = Sides(
            case, get_device("cpu"), variants, lambda title, error: told.append(f"{title}: {error}")
        )
    assert list(sides.theirs) == ["PyTorch NCHW"]
    assert told == [f"{case}, PyTorch compiled NCHW: this program cannot be compiled"]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("network", "size", "channels"),
    [
        ("simple", 28, 1),
        ("simple", 32, 3),
        ("resnet9", 32, 3),
        ("resnet18", 32, 3),
        ("resnet18", 96, 1),
    ],
)
def test_both_sides_compute_the_same(network: str, size: int, channels: int) -> None:
    from cases import Case
    from contenders import CPU_VARIANTS, Ours, Theirs, compare_results, make_batch

    from cpcnn.devices import get_device

    case = Case(network, size, channels, width=0.125, batch_size=4)
    batch, preprocessing = make_batch(case)
    ours = Ours(case, batch, preprocessing, get_device("cpu"))
    variants = CPU_VARIANTS.values()
    twins = [Theirs(case, batch, preprocessing, ours.network, variant) for variant in variants]
    sameness = compare_results(ours, twins)
    assert sameness.holds, sameness
    for theirs in twins:
        parameters = sum(parameter.numel() for parameter in theirs.twin.parameters())
        assert parameters == ours.network.store.num_trainable


@pytest.mark.oracle
def test_another_network_is_told_apart() -> None:
    from cases import Case
    from contenders import Ours, Theirs, Variant, compare_results, make_batch
    from torch import nn

    from cpcnn.devices import get_device

    case = Case("resnet9", 16, 3, width=0.125, batch_size=4)
    batch, preprocessing = make_batch(case)
    ours = Ours(case, batch, preprocessing, get_device("cpu"))
    theirs = Theirs(case, batch, preprocessing, ours.network, Variant("NCHW"))
    for module in theirs.twin.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.1
    assert not compare_results(ours, [theirs]).holds


# ---- Scanning ------------------------------------------------------------------------------------


def test_scanning_is_measured_on_every_kind_of_data() -> None:
    command = [BENCHMARKS / "scan.py", "--files", "60", "--rows", "40", "60", "--json"]
    done = subprocess.run(
        [sys.executable, *map(str, command)], check=True, capture_output=True, text=True
    )
    results = json.loads(done.stdout)
    assert [(row["kind"], row["images"]) for row in results] == [
        ("class folders", 60),
        ("metadata.csv", 60),
        ("metadata.jsonl", 60),
        ("list.csv", 40),
        ("list.csv", 60),
        ("shard.tar", 60),
    ]
    for row in results:
        assert 0 < row["validation"] < row["images"]
        assert 0 < row["modules_mb"] <= row["peak_mb"]
        assert row["scan_s"] > 0
