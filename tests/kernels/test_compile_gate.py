"""Every instance of every kernel compiles for every GPU that we support, and compiles well.

The compiler needs no GPU. `compile_gate/` runs it; the default suite takes two architectures.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from compile_gate import nvrtc, registers, sass, sources
from compile_gate.build import CUDA, Code, MissingTool, build, tools
from compile_gate.programs import ARCHITECTURES, KERNELS, Builds, Program, files

from cpcnn.devices.cuda.kernel import FOLDER, read_source

DEFAULT = ("sm_80", "sm_90a")
ROOT = Path(__file__).resolve().parents[2]

# Kernels that have vectors but no wide load (LDG) or store (STG), and why that is right.
NOT_WIDE = {
    ("batch_norm_moments", "STG"): "writes two sums a column",
    ("depthwise_weight_gradient", "STG"): "writes one sum a weight",
    ("find_not_finite", "STG"): "writes one number",
    ("input_stage", "LDG"): "gathers pixels, of seldom more than three channels",
    ("square_parts", "STG"): "writes one sum a block",
    ("sum_parts", "STG"): "writes one sum a column",
}


def programs(*releases: int) -> list[object]:
    """Return all programs as parameters; those beyond the default suite are marked long."""
    return [
        pytest.param(
            Program(file, architecture, cuda),
            id=f"{file}-{architecture}-cuda{cuda}",
            marks=() if architecture in DEFAULT and cuda == CUDA else pytest.mark.long,
        )
        for cuda in releases
        for architecture in ARCHITECTURES
        for file in files()
    ]


@pytest.fixture(scope="module")
def builds(request: pytest.FixtureRequest) -> Iterator[Builds]:
    """Compile what the selected tests want, while the first of them already run."""
    selected = [getattr(item, "callspec", None) for item in request.session.items]
    builds = Builds()
    builds.start(call.params["program"] for call in selected if call and "program" in call.params)
    yield builds
    builds.close()


@pytest.fixture
def instances(builds: Builds, program: Program) -> dict[str, Code]:
    """Return the code of each instance of a program."""
    try:
        return builds.result(program)
    except MissingTool as missing:
        pytest.skip(str(missing))
    except nvrtc.CompileError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture
def compiler() -> None:
    try:
        tools()
    except MissingTool as missing:
        pytest.skip(str(missing))


def assert_none(program: Program, faults: dict[str, list[str]]) -> None:
    """Fail with the faults of all instances, if there are any."""
    message = "\n".join(
        f"{program.file}: {name} on {program.architecture} with CUDA {program.cuda} {fault}"
        for name, found in faults.items()
        for fault in found
    )
    assert not message, message


@pytest.mark.parametrize("program", programs(13, 12))
def test_no_instance_keeps_anything_in_local_memory(
    program: Program, instances: dict[str, Code]
) -> None:
    faults = {
        name: registers.spill_faults(code.usage) + sass.local_memory_faults(code.opcodes)
        for name, code in instances.items()
    }
    assert_none(program, faults)


@pytest.mark.parametrize("program", programs(13, 12))
def test_full_vectors_move_by_128_bit_instructions(
    program: Program, instances: dict[str, Code]
) -> None:
    faults = {
        kernel.expression(instance): wide_faults(
            kernel.name, instances[kernel.expression(instance)]
        )
        for kernel in program.kernels
        for instance in kernel.instances
        if sass.moves_full_vectors(kernel, instance)
    }
    assert_none(program, faults)


def wide_faults(kernel: str, code: Code) -> list[str]:
    """Return how a kernel's wide instructions are not what `NOT_WIDE` lets expect."""
    faults = []
    for instruction in ("LDG", "STG"):
        wide, exempt = sass.has_wide(code.opcodes, instruction), (kernel, instruction) in NOT_WIDE
        if not wide and not exempt:
            faults.append(f"has no 128-bit {instruction}; if that is right, say why in NOT_WIDE")
        if wide and exempt:
            faults.append(f"has a 128-bit {instruction}: take it out of NOT_WIDE")
    return faults


def test_exceptions_are_of_kernels_that_exist() -> None:
    assert {kernel for kernel, _ in NOT_WIDE} <= {kernel.name for kernel in KERNELS}


@pytest.mark.parametrize("program", programs(CUDA))
def test_register_counts_are_the_recorded_ones(
    program: Program, instances: dict[str, Code]
) -> None:
    record, installed = registers.read_record(), tools()[0].version
    if reason := record.why_not_compared(installed):
        pytest.skip(reason)
    faults = {
        name: record.faults(program.file, name, program.architecture, code.usage.registers)
        for name, code in instances.items()
    }
    assert_none(program, faults)


def test_the_record_has_exactly_the_instances_that_exist() -> None:
    record = registers.read_record()
    recorded = {(file, name) for file, counts in record.counts.items() for name in counts}
    existing = {(file, name) for file in files() for name in Program(file, "sm_80").expressions}
    assert recorded == existing, registers.HOW_TO_RECORD
    assert tuple(record.architectures) == ARCHITECTURES, registers.HOW_TO_RECORD


def test_the_record_is_of_the_compiler_that_the_project_pins() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    pin = f"{nvrtc.WHEELS[CUDA][0]}=={registers.read_record().nvrtc}"
    assert pin in project["optional-dependencies"]["test"], registers.HOW_TO_RECORD


def test_every_kernel_in_the_sources_is_known_and_compiled() -> None:
    written = {
        (path.name, name)
        for path in FOLDER.glob("*.cu")
        for name in re.findall(r"__global__[^(]*(?:\([\d, ]*\))?\s+(\w+)\s*\(", path.read_text())
    }
    assert written == {(kernel.file, kernel.name) for kernel in KERNELS if kernel.instances}


@pytest.mark.parametrize("file", files())
def test_the_map_of_places_fits_the_source(file: str) -> None:
    assert "\n".join(line.text for line in sources.lines(file)) == read_source(file)


# The rest plants faults, to see that the gate finds them.

SPILLS = """
extern "C" __global__ void __launch_bounds__(1024, 2) spills(const float* x, float* y, int n) {
    float sums[48];
    for (int k = 0; k < 48; k++) sums[k] = x[k * 1024 + threadIdx.x];
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < 48; k++) sums[k] = sums[k] * x[i] + sums[(k + 1) % 48];
    }
    for (int k = 0; k < 48; k++) y[k * 1024 + threadIdx.x] = sums[k];
}
"""
STACK = """
extern "C" __global__ void __launch_bounds__(256) stack(const int* x, int* y, int n) {
    int places[64];
    for (int i = 0; i < n; i++) places[x[i] & 63] = i;
    y[threadIdx.x] = places[threadIdx.x & 63];
}
"""
COPY = """
template <typename T, int VEC> struct alignas(sizeof(T) * VEC) Pack { T values[VEC]; };
template <typename T, int VEC, int OUT>
__global__ void __launch_bounds__(256) copy(const T* __restrict__ x, T* __restrict__ y) {
    const auto pack = reinterpret_cast<const Pack<T, VEC>*>(x)[threadIdx.x];
    for (int k = 0; k < VEC / OUT; k++) {
        Pack<T, OUT> part;
        for (int j = 0; j < OUT; j++) part.values[j] = pack.values[k * OUT + j];
        reinterpret_cast<Pack<T, OUT>*>(y)[(threadIdx.x * VEC / OUT + k) * 3] = part;
    }
}
"""


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("architecture", DEFAULT)
def test_a_kernel_that_spills_is_found(architecture: str) -> None:
    code = build("planted.cu", SPILLS, ["spills"], architecture)["spills"]
    assert any("spills registers" in fault for fault in registers.spill_faults(code.usage))
    assert sass.local_memory_faults(code.opcodes)


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("architecture", DEFAULT)
def test_a_kernel_with_a_stack_frame_is_found(architecture: str) -> None:
    code = build("planted.cu", STACK, ["stack"], architecture)["stack"]
    assert registers.spill_faults(code.usage) == ["has a stack frame of 256 bytes"]
    assert "STL" in str(sass.local_memory_faults(code.opcodes))


@pytest.mark.usefixtures("compiler")
@pytest.mark.parametrize("architecture", DEFAULT)
def test_scalar_loads_and_stores_are_found(architecture: str) -> None:
    expressions = {"": "copy<float, 4, 4>", "STG": "copy<float, 4, 1>", "LDG": "copy<float, 1, 1>"}
    codes = build("planted.cu", COPY, list(expressions.values()), architecture)
    assert wide_faults("copy", codes[expressions[""]]) == []
    (fault,) = wide_faults("copy", codes[expressions["STG"]])
    assert "no 128-bit STG" in fault
    assert "no 128-bit LDG" in wide_faults("copy", codes[expressions["LDG"]])[0]


@pytest.mark.usefixtures("compiler")
def test_a_mistake_is_reported_with_its_place_kernels_and_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "sums.cuh").write_text("// a comment\n\nfloat sum(float x) { return x +; }\n")
    (tmp_path / "broken.cu").write_text(
        '#include "sums.cuh"\n#include "sums.cuh"\n__global__ void f(float* y) { *y = summ(1); }\n'
    )
    monkeypatch.setattr("cpcnn.devices.cuda.kernel.FOLDER", tmp_path)
    with pytest.raises(nvrtc.CompileError) as caught:
        Program("broken.cu", "sm_80").build()
    message = str(caught.value)
    assert "does not compile for sm_80 with CUDA 13" in message
    assert "sums.cuh:3: error" in message
    assert "broken.cu:3: error" in message


def test_a_register_count_that_moved_or_is_missing_is_reported() -> None:
    record = registers.Record("1.0", ["sm_80", "sm_90a"], {"a.cu": {"f<float>": [30, 40]}})
    assert record.faults("a.cu", "f<float>", "sm_90a", 40) == []
    (moved,) = record.faults("a.cu", "f<float>", "sm_90a", 41)
    assert "takes 41 registers, recorded are 40" in moved
    assert "python tests/kernels/record_registers.py" in moved
    assert "no recorded" in record.faults("a.cu", "f<int>", "sm_80", 30)[0]


def test_the_record_reads_as_it_was_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(registers, "RECORD", tmp_path / "registers.json")
    counts = {"b.cu": {"g": [1, 2]}, "a.cu": {"f<float, 4>": [3, 4], "f<float, 1>": [5, 6]}}
    registers.write_record(registers.Record("1.0", ["sm_80", "sm_90a"], counts))
    assert registers.read_record() == registers.Record("1.0", ["sm_80", "sm_90a"], counts)
    assert '      "f<float, 1>": [5, 6],\n' in registers.RECORD.read_text()


def test_opcodes_are_read_with_their_qualifiers_and_without_predicates() -> None:
    text = """
.text.f:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDG.E.128.CONSTANT R4, desc[UR4][R2.64] ;
        /*0020*/               @P1 LDG.E.LTC128B.CONSTANT R4, desc[UR4][R2.64] ;
.L_x_1:
        /*0030*/             @!UP0 UMOV UR4, 0x1 ;
"""
    opcodes = sass.opcodes(text)["f"]
    assert opcodes == Counter(["LDC", "LDG.E.128.CONSTANT", "LDG.E.LTC128B.CONSTANT", "UMOV"])
    assert sass.has_wide(opcodes, "LDG")
    assert not sass.has_wide(Counter(["LDG.E.LTC128B.CONSTANT", "LDS.128"]), "LDG")
