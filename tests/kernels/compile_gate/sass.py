"""The instructions of a compiled kernel, and what must and must not be among them."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path

from cpcnn.devices.cuda.element_types import DTYPES, VECTOR_BYTES, element_size
from cpcnn.devices.cuda.kernel import Instance, Kernel

from .nvrtc import installed_file

NVDISASM = "nvidia-cuda-nvdisasm"
_FUNCTION = re.compile(r"\.text\.(\S+):")
_INSTRUCTION = re.compile(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)")


@cache
def find_nvdisasm() -> tuple[str, Path] | None:
    """Return version and place of the disassembler, None when its wheel is not installed."""
    program = installed_file(NVDISASM, "nvdisasm")
    return None if program is None else (metadata.version(NVDISASM), program)


def disassemble(nvdisasm: Path, cubin: bytes) -> str:
    """Return the instructions of machine code as text."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(nvdisasm), "--print-code", file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def opcodes(text: str) -> dict[str, Counter[str]]:
    """Return how often each opcode, as `LDG.E.128`, stands in each function (by mangled name)."""
    functions: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in text.splitlines():
        if function := _FUNCTION.fullmatch(line):
            current = functions.setdefault(function[1], Counter())
        elif instruction := _INSTRUCTION.match(line):
            current[instruction[1]] += 1
    return functions


def local_memory_faults(opcodes: Counter[str]) -> list[str]:
    """Return the instructions that move local memory, which is slow memory."""
    found = {name: count for name, count in opcodes.items() if name.split(".")[0] in ("LDL", "STL")}
    return [f"moves local memory: {found}"] if found else []


def moves_full_vectors(kernel: Kernel, instance: Instance) -> bool:
    """Whether an instance takes VEC elements at a time of a type of which they fill 16 bytes."""
    bound = dict(zip(kernel.template, instance, strict=True))
    types = [value for value in bound.values() if value in DTYPES]
    vector = int(bound.get("VEC", 1))
    return any(element_size(DTYPES[str(c_type)]) * vector == VECTOR_BYTES for c_type in types)


def has_wide(opcodes: Counter[str], instruction: str) -> bool:
    """Whether an instruction on global memory, `LDG` or `STG`, is there with 128 bits."""
    return any(
        parts[0] == instruction and "128" in parts
        for parts in (name.split(".") for name in opcodes)
    )
