"""The benchmark times what it says: fair turns, true ratios, and twins that compute the same."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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


@pytest.mark.parametrize("arguments", [["--size", "0"], ["--width", "nan"], ["--networks", "vgg"]])
def test_nonsense_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    import cpu_vs_torch

    with pytest.raises(SystemExit) as refusal:
        cpu_vs_torch.parse(arguments)
    assert refusal.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_tables_fit_eighty_columns() -> None:
    from cases import Case
    from paired_timing import Comparison
    from report import table

    case = Case("resnet18", 128, 3, 0.25, 256)
    timing = Comparison({"cpcnn": [0.001, 0.002], "PyTorch channels_last": [0.03, 0.9]})
    lines = table("Training step", [(case, timing)]).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-2].split()[:4] == ["resnet18", "×0.25", "128×128×3", "256"]


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
