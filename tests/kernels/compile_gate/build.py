"""The instances of a source, compiled and taken apart: once, then from a cache."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from . import nvrtc, registers, sass

CUDA = 13  # the release whose compiler is pinned, and whose register counts are recorded
CACHE = Path(__file__).resolve().parents[3] / "build" / "nvrtc"


class MissingTool(Exception):
    """What the gate needs and does not find; the message is the reason to skip."""


class Code(NamedTuple):
    """What became of an instance: what it takes, and how often it has each opcode."""

    usage: registers.Usage
    opcodes: Counter[str]


def tools(cuda: int = CUDA) -> tuple[nvrtc.Toolkit, tuple[str, Path]]:
    """Return a release's compiler, and version and place of the disassembler."""
    toolkit, nvdisasm = nvrtc.find(cuda), sass.find_nvdisasm()
    wanted = [*nvrtc.WHEELS[cuda]] * (toolkit is None) + [sass.NVDISASM] * (nvdisasm is None)
    if toolkit is None or nvdisasm is None:
        raise MissingTool(f"{' and '.join(wanted)} not installed; pip install -e '.[test]'")
    return toolkit, nvdisasm


def build(
    file: str, source: str, expressions: list[str], architecture: str, cuda: int = CUDA
) -> dict[str, Code]:
    """Compile the instances of a source and take their code apart; CompileError, MissingTool."""
    toolkit, (nvdisasm_version, nvdisasm) = tools(cuda)
    inputs = [toolkit.version, toolkit.headers_version, nvdisasm_version, file, source, expressions]
    inputs.append(toolkit.options(architecture))
    cached = CACHE / f"{hashlib.sha256(json.dumps(inputs).encode()).hexdigest()}.json.gz"
    if cached.exists():
        made = json.loads(gzip.decompress(cached.read_bytes()))
    else:
        compiled = toolkit.compile(file, source, expressions, architecture)
        text = sass.disassemble(nvdisasm, compiled.cubin)
        made = {"names": compiled.names, "log": compiled.log, "sass": text}
        _write(cached, gzip.compress(json.dumps(made).encode(), compresslevel=1))
    usage, opcodes = registers.usage(made["log"]), sass.opcodes(made["sass"])
    return {
        expression: Code(usage[name], opcodes[name]) for expression, name in made["names"].items()
    }


def _write(path: Path, content: bytes) -> None:
    """Write a file that others see whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    os.replace(file.name, path)
