"""The parts of `cpu_vs_torch.py`, a case at a time: what is measured goes to the journal."""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from cases import CPU_CASES, MEMORY_CASES, SCALING_CASES, Case, chosen_cases
from command_line import say
from contenders import CPU_COMPILED_VARIANTS, CPU_VARIANTS, Ours, Theirs, Variant, make_batch
from convolutions import TOLERANCE, calls_of, compare_results, make_cpu_contenders
from geometries import CPU_GEOMETRIES, Geometry, one_of_each_kind
from journal import Journal
from latency import CALLS, measure_latencies, percentiles
from loading import IMAGES_PER_CLASS, Loading
from memory_probe import measure_memory
from paired_timing import REPEATS, Call, Comparison, compare
from report import COMPILE, OURS, PARTS, PREDICT, THEIRS
from sides import Disagreement, Sides

from cpcnn.devices import Device, get_device


@dataclass(frozen=True)
class Effort:
    """How long a turn is, how many there are, and sizes, where they are not those of the cases."""

    network_turn: float = 0.2
    convolution_turn: float = 0.05
    loading_turn: float = 1.0  # many batches: those that the loader has ready are for nothing
    repeats: int = REPEATS
    calls: int = CALLS  # for latency
    call_seconds: float = 20.0  # for the calls of one contender
    processes: int = 3
    images: int | None = None  # of convolutions, of which then one of each kind will do
    images_per_class: int = IMAGES_PER_CLASS
    cases: int | None = None  # of latency, memory and scaling
    compiled_cases: int | None = None
    compiled_latency: bool = True
    compiled: Mapping[str, Variant] = field(default_factory=lambda: CPU_COMPILED_VARIANTS)


QUICK = Effort(
    network_turn=0.001,
    convolution_turn=0.001,
    loading_turn=0.01,
    repeats=1,
    calls=20,
    processes=1,
    images=2,
    images_per_class=8,
    cases=1,
    compiled_cases=1,
    compiled_latency=False,
    compiled={"compiled channels_last": Variant(compiled=True)},
)


class CpuBenchmark:
    """One run; `failed` is true as soon as a case went wrong."""

    def __init__(self, device: Device, journal: Journal, options: argparse.Namespace) -> None:
        self.device = device
        self.threads: int = device.threads  # type: ignore[attr-defined]
        self.journal = journal
        self.options = options
        self.effort: Effort = options.effort
        self.failed = False
        self._began = time.monotonic()

    def run(self) -> None:
        for part in PARTS:
            if part in self.options.only:
                getattr(self, part)()
        self.journal.set("seconds", round(time.monotonic() - self._began))

    def attempt(self, section: str, title: str, measure: Call) -> None:
        """Measure one case; its errors are written down, and the next one follows."""
        gc.collect()
        say(f"[{time.monotonic() - self._began:4.0f} s] {section}: {title}")
        try:
            measure()
        except Exception as error:
            self.leave_out(section, title, error)
            self.failed = True

    def leave_out(self, section: str, title: str, error: Exception) -> None:
        text = str(error).strip() or "no message"
        reason = f"{type(error).__name__}: {text.splitlines()[0]}"
        self.journal.add(section, {"title": title, "reason": reason})
        say(f"         {title}: {reason}")

    def cases(self, defaults: tuple[Case, ...]) -> list[Case]:
        return chosen_cases(defaults, self.options)

    def sides(self, section: str, case: Case, *, compiled: bool) -> Sides:
        """Return both sides, seen to compute the same."""
        variants = CPU_VARIANTS | (dict(self.effort.compiled) if compiled else {})
        sides = Sides(case, self.device, variants, partial(self.leave_out, section))
        say(f"         {sides.sameness}")
        return sides

    def compare(self, calls: dict[str, Call], turn_seconds: float, **options: Any) -> Comparison:
        return compare(calls, repeats=self.effort.repeats, turn_seconds=turn_seconds, **options)

    # ---- Networks: training and inference ----

    def networks(self) -> None:
        cases = self.cases(CPU_CASES)
        compiled = cases[: self.effort.compiled_cases] if self.can_compile else []
        for case in cases:
            measure = partial(self.network, case, compiled=case in compiled)
            self.attempt("networks", str(case), measure)

    def network(self, case: Case, *, compiled: bool) -> None:
        """See that both sides compute the same, and time training and inference."""
        sides = self.sides("networks", case, compiled=compiled)
        facts = sides.facts()
        for mode, method in (("training", "train"), ("inference", "infer")):
            if mode == "inference":
                sides.start_inference()
            timing = self.compare(sides.calls(method), self.effort.network_turn)
            self.journal.add("networks", facts | {"mode": mode, "seconds": timing.seconds})

    @cached_property
    def can_compile(self) -> bool:
        """Whether torch.compile works here: it needs a C++ compiler. If not, the table says why."""
        if self.options.no_compile:
            return False
        try:
            torch.compile(lambda x: x + 1)(torch.ones(2))
        except Exception as error:
            self.leave_out("networks", COMPILE, error)
            return False
        return True

    # ---- Convolutions ----

    def convolutions(self) -> None:
        images = self.effort.images
        for geometry in one_of_each_kind(CPU_GEOMETRIES) if images else CPU_GEOMETRIES:
            geometry = geometry.of(images) if images else geometry
            self.attempt("convolutions", str(geometry), partial(self.convolution, geometry))

    def convolution(self, geometry: Geometry) -> None:
        """See that both sides compute the same, and time them in each pass."""
        with self.device.scope():
            difference = compare_results(geometry, self.device, "cpu", tuple(CPU_VARIANTS))
            if not difference <= TOLERANCE:
                raise Disagreement(f"results differ by {difference:.0e} of their norm")
            contenders = make_cpu_contenders(geometry, self.device)
        passes = {
            title: self.compare(calls, self.effort.convolution_turn, around=self.scope_of).seconds
            for title, calls in calls_of(contenders).items()
        }
        entry = {
            "title": geometry.title,
            "images": "×".join(map(str, geometry.input_shape)) + f"→{geometry.filters}",
            "geometry": asdict(geometry),
            "difference": difference,
            "passes": passes,
        }
        self.journal.add("convolutions", entry)

    def scope_of(self, name: str) -> AbstractContextManager[None]:
        """The device's scope for our turns alone: it limits every BLAS of the process."""
        return self.device.scope() if name == OURS else nullcontext()

    # ---- Latency ----

    def latency(self) -> None:
        cases = [replace(case, batch_size=1) for case in self.cases(CPU_CASES)]
        compiled = self.effort.compiled_latency and self.can_compile
        for case in cases[: self.effort.cases]:
            self.attempt("latency", str(case), partial(self.calls_of_one, case, compiled=compiled))

    def calls_of_one(self, case: Case, *, compiled: bool) -> None:
        """Time single images: ours by the verb and from a loader, theirs in all variants."""
        sides = self.sides("latency", case, compiled=compiled)
        facts = sides.facts()
        sides.start_inference()
        calls = {PREDICT: sides.ours.predict} | sides.calls("infer")
        taken = measure_latencies(calls, calls=self.effort.calls, seconds=self.effort.call_seconds)
        count = len(taken[OURS])
        self.journal.add("latency", facts | {"calls": count, "percentiles": percentiles(taken)})

    # ---- Memory ----

    def memory(self) -> None:
        for case in self.cases(MEMORY_CASES)[: self.effort.cases]:
            self.attempt("memory", str(case), partial(self.step_memory, case))

    def step_memory(self, case: Case) -> None:
        """Let each side train in processes of its own."""
        sides = (OURS, *(f"{THEIRS} {layout}" for layout in CPU_VARIANTS))
        bytes_of = {
            side: measure_memory(side, case, self.threads, self.effort.processes) for side in sides
        }
        self.journal.add("memory", {"title": str(case), "case": asdict(case), "bytes": bytes_of})

    # ---- Scaling: threads, and the loader beside them ----

    def scaling(self) -> None:
        for case in self.cases(SCALING_CASES)[: self.effort.cases]:
            self.attempt("scaling", f"{case}, threads", partial(self.with_threads, case))
            self.attempt("loading", f"{case}, loader", partial(self.with_loader, case))

    def with_threads(self, case: Case) -> None:
        """Time training steps with one thread, two, and all."""
        batch, preprocessing = make_batch(case)
        counts = sorted({1, min(2, self.threads), self.threads})
        calls: dict[str, Call] = {}
        threads: dict[str, int] = {}
        for count in counts:
            device = get_device("cpu", threads=count)
            ours = Ours(case, batch, preprocessing, device)
            sides: dict[str, Any] = {OURS: ours} | {
                f"{THEIRS} {name}": Theirs(case, batch, preprocessing, ours.network, variant)
                for name, variant in CPU_VARIANTS.items()
            }
            for name, side in sides.items():
                calls[f"{name}, {count}"] = side.train
                threads[f"{name}, {count}"] = count

        @contextmanager
        def around(name: str) -> Iterator[None]:
            torch.set_num_threads(threads[name])
            try:
                yield
            finally:
                torch.set_num_threads(self.threads)

        timing = self.compare(calls, self.effort.network_turn, around=around)
        entry = {"title": f"{case}, threads", "case": asdict(case), "threads": counts}
        self.journal.add("scaling", entry | {"seconds": timing.seconds})

    def with_loader(self, case: Case) -> None:
        """Time training steps on a folder of images, with the loader beside them."""
        with TemporaryDirectory(prefix="cpcnn-benchmark-") as folder:
            loading = Loading(
                case, Path(folder) / "images", self.effort.images_per_class, self.threads
            )
            calls = loading.contenders(self.device)
            timing = self.compare(calls, self.effort.loading_turn)
        entry = {"title": f"{case}, loader", "case": asdict(case)}
        self.journal.add("loading", entry | {"seconds": timing.seconds})
