"""Both sides of a case, seen to compute the same before anything is timed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from cases import Case
from contenders import Ours, Results, Sameness, Theirs, Variant, make_batch, worst
from paired_timing import Call
from report import OURS, THEIRS

from cpcnn.devices import Device


class Disagreement(Exception):
    """The two sides do not compute the same, so there is nothing to compare."""


class Sides:
    """Ours, and a twin in each of PyTorch's variants; Disagreement if they differ.

    A twin that cannot be compiled is dropped, and `leave_out` is told its title and the error.
    """

    def __init__(
        self,
        case: Case,
        device: Device,
        variants: Mapping[str, Variant],
        leave_out: Callable[[str, Exception], None],
    ) -> None:
        torch.compiler.reset()  # compiled programs of other cases count towards a limit
        self.case = case
        self._leave_out = leave_out
        batch, preprocessing = make_batch(case)
        self.ours = Ours(case, batch, preprocessing, device)
        # before our first step, which moves the running statistics that twins copy
        self.theirs = {
            f"{THEIRS} {name}": Theirs(case, batch, preprocessing, self.ours.network, variant)
            for name, variant in variants.items()
        }
        self.sameness = self._compare()

    def _compare(self) -> Sameness:
        results = Results.of(self.ours)
        differences: list[Sameness] = []
        for name, twin in list(self.theirs.items()):
            with self._compiling(name, twin):
                differences.append(results.difference(self.ours.network, twin))
        sameness = worst(differences)
        if not sameness.holds:
            raise Disagreement(str(sameness))
        return sameness

    @contextmanager
    def _compiling(self, name: str, twin: Theirs) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not twin.variant.compiled:
                raise
            del self.theirs[name]
            self._leave_out(f"{self.case}, {name}", error)

    def facts(self) -> dict[str, Any]:
        return {
            "title": str(self.case),
            "case": asdict(self.case),
            "parameters": self.ours.network.num_parameters,
            "differences": asdict(self.sameness),
        }

    def start_inference(self) -> None:
        """Make both sides ready, and compile what is to be compiled."""
        self.ours.start_inference()
        for name, twin in list(self.theirs.items()):
            twin.start_inference()
            with self._compiling(name, twin):
                twin.infer()

    def calls(self, method: str) -> dict[str, Call]:
        contenders: dict[str, Any] = {OURS: self.ours, **self.theirs}
        return {name: getattr(contender, method) for name, contender in contenders.items()}
