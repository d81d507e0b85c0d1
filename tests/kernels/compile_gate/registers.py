"""What ptxas measured of each instance, and the register counts recorded beside the kernels."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from cpcnn.devices.cuda.kernel import FOLDER

RECORD = FOLDER / "registers.json"
HOW_TO_RECORD = "if that is meant, record the counts anew: python tests/kernels/record_registers.py"


class Usage(NamedTuple):
    """The registers of a thread, and the bytes of local memory that it needs besides."""

    registers: int
    stack: int
    spill_stores: int
    spill_loads: int


_FUNCTION = re.compile(
    r"Compiling entry function '(?P<name>\w+)'.*?"
    r"(?P<stack>\d+) bytes stack frame, "
    r"(?P<stores>\d+) bytes spill stores, (?P<loads>\d+) bytes spill loads.*?"
    r"Used (?P<registers>\d+) registers",
    re.S,
)


def usage(log: str) -> dict[str, Usage]:
    """Return the usage of each function, by its mangled name, from a log of `-v`."""
    return {
        found["name"]: Usage(*map(int, found.group("registers", "stack", "stores", "loads")))
        for found in _FUNCTION.finditer(log)
    }


def spill_faults(usage: Usage) -> list[str]:
    """Return what an instance keeps in local memory: nothing, as it should be."""
    faults = []
    if usage.stack:
        faults.append(f"has a stack frame of {usage.stack} bytes")
    if usage.spill_stores or usage.spill_loads:
        faults.append(
            f"spills registers: {usage.spill_stores} bytes of stores, {usage.spill_loads} of loads"
        )
    return faults


class Record(NamedTuple):
    """Recorded register counts, and the NVRTC that they are of."""

    nvrtc: str
    architectures: list[str]
    counts: dict[str, dict[str, list[int]]]  # file, instance: a count for each architecture

    def why_not_compared(self, installed: str) -> str:
        """Return why the counts of an NVRTC are not comparable, empty where they are."""
        if installed == self.nvrtc:
            return ""
        return (
            f"register counts NOT compared: recorded with NVRTC {self.nvrtc}, "
            f"installed is {installed}"
        )

    def faults(self, file: str, instance: str, architecture: str, registers: int) -> list[str]:
        """Return how an instance's registers differ from the recorded ones."""
        counts = self.counts.get(file, {}).get(instance)
        if counts is None:
            return [f"has no recorded register count; {HOW_TO_RECORD}"]
        recorded = counts[self.architectures.index(architecture)]
        if recorded == registers:
            return []
        return [f"takes {registers} registers, recorded are {recorded}; {HOW_TO_RECORD}"]


def read_record() -> Record:
    """Return what registers.json holds."""
    return Record(**json.loads(RECORD.read_text("utf-8")))


def write_record(record: Record) -> None:
    """Write registers.json: sorted, one line an instance, so that a change shows as a few lines."""
    files = ",\n".join(
        f'    "{file}": {{\n'
        + ",\n".join(f"      {json.dumps(name)}: {counts[name]}" for name in sorted(counts))
        + "\n    }"
        for file, counts in sorted(record.counts.items())
    )
    RECORD.write_text(
        f'{{\n  "nvrtc": {json.dumps(record.nvrtc)},\n'
        f'  "architectures": {json.dumps(record.architectures)},\n'
        f'  "counts": {{\n{files}\n  }}\n}}\n',
        "utf-8",
    )
