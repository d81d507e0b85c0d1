"""The three parts of `gpu_vs_torch.py`: kernels, convolutions, networks; a case at a time."""

from __future__ import annotations

import argparse
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from cases import GPU_CASES, Case, chosen_cases
from command_line import say
from geometries import GEOMETRIES, Geometry
from gpu_report import OURS, THEIRS
from journal import Journal
from kernel_cases import KERNEL_CASES, KernelCase
from kernel_timing import COPY, KERNELS, Timed, event_clock, time_copy, time_kernels
from paired_timing import REPEATS, Call, Clock, Comparison, compare, waiting_clock
from shared_device import SharedDevice

from cpcnn.core.errors import DeviceMemoryError

PARTS = ("kernels", "convolutions", "networks")


@dataclass(frozen=True)
class Effort:
    """How long a turn is, by part; and sizes, where they are not those of the cases."""

    kernel_turn: float = 0.02
    convolution_turn: float = 0.01
    network_turn: float = 0.1
    repeats: int = REPEATS
    images: int | None = None  # of kernels and convolutions


QUICK = Effort(0.001, 0.001, 0.001, repeats=2, images=4)


class Disagreement(Exception):
    """The two sides do not compute the same, so there is nothing to compare."""


class Benchmark:
    """One run; `failed` is true as soon as something went wrong that lack of memory is not."""

    def __init__(self, shared: SharedDevice, journal: Journal, options: argparse.Namespace) -> None:
        self.shared = shared
        self.device = shared.device
        self.journal = journal
        self.options = options
        self.effort: Effort = options.effort
        self.failed = False
        self._began = time.monotonic()

    def run(self) -> None:
        for part in PARTS:
            if part in self.options.only:
                getattr(self, part)()

    def attempt(self, section: str, title: str, measure: Call) -> None:
        """Measure one case; its errors are written down, and the next one follows."""
        self.shared.empty_caches()
        elapsed = time.monotonic() - self._began
        say(f"[{elapsed:4.0f} s] {section}: {title}")
        try:
            if elapsed >= self.options.seconds:
                raise TimeoutError("no time was left, see --seconds")
            measure()
        except Exception as error:
            text = str(error).strip() or "no message"
            reason = f"{type(error).__name__}: {text.splitlines()[0]}"
            self.journal.add(section, {"title": title, "reason": reason})
            say(f"         {reason}")
            self.failed |= not is_excused(error)

    # ---- Kernels ----

    def kernels(self, clock: Clock = event_clock) -> None:
        """Time each kernel by itself, and the copy that it is measured by."""
        if not self.shared.is_gpu:
            reason = "kernels are timed by the GPU's own clock"
            self.journal.add("kernels", {"title": "kernels", "reason": reason})
            return
        timed = partial(
            compare,
            repeats=self.effort.repeats,
            turn_seconds=self.effort.kernel_turn,
            clock=clock,
            before_turn=lambda: None,  # alone on the GPU, there is nobody to come to rest
        )
        self.attempt("kernels", "copy", partial(self.copy, timed))
        if "copy" not in self.journal.document:
            return  # nothing to measure them by
        for case in KERNEL_CASES:
            case = case.of(self.effort.images) if self.effort.images else case
            for dtype in case.dtypes:
                measure = partial(self.kernel, case, dtype, timed)
                self.attempt("kernels", f"{case.title}, {dtype}", measure)

    def copy(self, timed: Timed) -> None:
        moved, timing = time_copy(self.device, timed)
        self.journal.set("copy", {"bytes": moved, "seconds": timing.seconds[COPY]})

    def kernel(self, case: KernelCase, dtype: str, timed: Timed) -> None:
        timing = time_kernels(case, self.device, dtype, timed)
        entry = {
            "title": case.title,
            "shape": case.shape,
            "dtype": dtype,
            "kernels": case.kernels,
            "bytes": case.bytes(dtype),
            "seconds": timing.seconds[KERNELS],
        }
        self.journal.add("kernels", entry)

    # ---- Convolutions ----

    def convolutions(self) -> None:
        for geometry in GEOMETRIES:
            geometry = geometry.of(self.effort.images) if self.effort.images else geometry
            self.attempt("convolutions", str(geometry), partial(self.convolution, geometry))

    def convolution(self, geometry: Geometry) -> None:
        """See that both sides compute the same, and time them in each type."""
        from convolutions import TOLERANCE, calls_of, compare_results, make_contenders

        place = self.shared.place
        with self.device.scope():
            difference = compare_results(geometry, self.device, place)
            if not difference <= TOLERANCE:
                raise Disagreement(f"results differ by {difference:.0e} of their norm")
            contenders = make_contenders(geometry, self.device, place, half=self.shared.is_gpu)
            passes = {
                title: self.compare(calls, self.effort.convolution_turn).seconds
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

    # ---- Networks ----

    def networks(self) -> None:
        """Time all cases beside eager PyTorch first: to compile takes longer than to measure."""
        from contenders import COMPILED_VARIANTS, EAGER_VARIANTS

        cases = chosen_cases(GPU_CASES, self.options)
        passes = (
            [EAGER_VARIANTS] if self.options.no_compile else [EAGER_VARIANTS, COMPILED_VARIANTS]
        )
        for variants in passes:
            how = "compiled" if variants is COMPILED_VARIANTS else "eager"
            for case in cases:
                measure = partial(self.network, case, variants)
                self.attempt("networks", f"{case}, PyTorch {how}", measure)

    def network(self, case: Case, variants: dict[str, Any]) -> None:
        """See that both sides compute the same, and time training and inference."""
        import torch
        from contenders import Ours, Theirs, compare_results, make_batch

        torch.compiler.reset()  # compiled programs of other cases count towards a limit
        torch.backends.cudnn.allow_tf32 = False
        batch, preprocessing = make_batch(case)
        ours = Ours(case, batch, preprocessing, self.device)
        theirs = {
            f"{THEIRS} {name}": Theirs(
                case, batch, preprocessing, ours.network, variant, self.shared.place
            )
            for name, variant in variants.items()
        }
        sameness = compare_results(ours, [twin for twin in theirs.values() if not twin.variant.amp])
        say(f"         {sameness}")
        if not sameness.holds:
            raise Disagreement(str(sameness))
        contenders: dict[str, Ours | Theirs] = {OURS: ours, **theirs}
        facts = {
            "title": str(case),
            "case": asdict(case),
            "parameters": ours.network.num_parameters,
            "differences": asdict(sameness),
        }
        for mode, method in (("training", "train"), ("inference", "infer")):
            if mode == "inference":
                for contender in contenders.values():
                    contender.start_inference()
            calls = {name: getattr(contender, method) for name, contender in contenders.items()}
            timing = self.compare(calls, self.effort.network_turn)
            self.journal.add("networks", facts | {"mode": mode, "seconds": timing.seconds})

    def compare(self, calls: dict[str, Call], turn_seconds: float) -> Comparison:
        """Let contenders take turns; a turn is over when the GPU has done all that it began."""
        return compare(
            calls,
            repeats=self.effort.repeats,
            turn_seconds=turn_seconds,
            clock=waiting_clock(self.shared.wait),
            before_turn=self.shared.make_room,
        )


def is_excused(error: Exception) -> bool:
    """Whether an error only says that a case is too large for the GPU, or that time is over."""
    if isinstance(error, (DeviceMemoryError, TimeoutError)):
        return True
    return type(error).__name__ == "OutOfMemoryError"  # PyTorch's
