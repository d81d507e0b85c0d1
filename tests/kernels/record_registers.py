"""Record the register counts of all kernels anew, beside them, and print what changed.

python tests/kernels/record_registers.py
"""

from __future__ import annotations

import sys

from compile_gate import nvrtc, registers
from compile_gate.build import MissingTool, tools
from compile_gate.programs import ARCHITECTURES, Builds, Program, files


def main() -> None:
    try:
        toolkit, _ = tools()
        counts = measure()
    except (MissingTool, nvrtc.CompileError) as error:
        sys.exit(str(error))
    before = registers.read_record().counts if registers.RECORD.exists() else {}
    registers.write_record(registers.Record(toolkit.version, list(ARCHITECTURES), counts))
    for line in changes(before, counts):
        print(line)
    instances = sum(map(len, counts.values()))
    print(f"{registers.RECORD}: {instances} instances with NVRTC {toolkit.version}")


def measure() -> dict[str, dict[str, list[int]]]:
    """Return the register counts of every instance, one for each architecture."""
    builds = Builds()
    builds.start(Program(file, name) for file in files() for name in ARCHITECTURES)
    counts: dict[str, dict[str, list[int]]] = {}
    try:
        for file in files():
            codes = [builds.result(Program(file, name)) for name in ARCHITECTURES]
            counts[file] = {
                instance: [code[instance].usage.registers for code in codes]
                for instance in codes[0]
            }
    finally:
        builds.close()
    return counts


def changes(
    before: dict[str, dict[str, list[int]]], after: dict[str, dict[str, list[int]]]
) -> list[str]:
    """Return a line for each instance that came, went, or takes other registers."""
    old = {(file, name): value for file, counts in before.items() for name, value in counts.items()}
    new = {(file, name): value for file, counts in after.items() for name, value in counts.items()}
    return [
        f"{file}: {name}: {old.get((file, name), 'new')} -> {new.get((file, name), 'gone')}"
        for file, name in sorted(old.keys() | new.keys())
        if old.get((file, name)) != new.get((file, name))
    ]


if __name__ == "__main__":
    main()
