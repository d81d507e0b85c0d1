"""How the emulator builds kernels, and the device made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from emulation import (
    EmulatedCudaDevice,
    EmulatedLauncher,
    EmulatorBuildError,
    EmulatorUnavailable,
    build,
    guarded,
    planted,
)

from cpcnn.devices.cuda.geometry import Launch
from cpcnn.devices.cuda.kernel import FOLDER, Kernel, read_source


def test_the_compiled_text_is_the_source() -> None:
    """Only directives that number its lines are added."""
    for file in sorted(path.name for path in FOLDER.glob("*.cu")):
        text = "".join(build.numbered(file))
        kept = [line for line in text.splitlines() if line and not line.startswith("#line ")]
        source = read_source.__wrapped__(file)  # as the file is now
        assert kept == [line for line in source.splitlines() if line]


@pytest.mark.usefixtures("emulator")
def test_a_kernel_that_does_not_compile(tmp_path: Path) -> None:
    (tmp_path / "header.cuh").write_text("\nint broken() { return nothing; }\n")
    (tmp_path / "bad.cu").write_text('#include "header.cuh"\n')
    with planted(tmp_path), pytest.raises(EmulatorBuildError, match=r"header\.cuh:2:\d+: error"):
        build.build("bad.cu", None)


@pytest.mark.usefixtures("emulator")
def test_a_kernel_that_becomes_known_late(tmp_path: Path) -> None:
    """Its file has been built before, without it."""
    source = "__global__ void __launch_bounds__(32) {}(float* y) {{ y[0] = {}; }}\n"
    (tmp_path / "two.cu").write_text(source.format("first", 1) + source.format("second", 2))
    launcher, one = EmulatedLauncher(), Launch((1, 1, 1), (1, 1, 1))
    with planted(tmp_path):
        for number, name in enumerate(("first", "second"), 1):
            y = guarded(1, np.float32)
            launcher.run(Kernel("two.cu", name, [()]), (), one, [y])
            assert y[0] == number
        assert build.instances("two.cu") == ["first", "second"]


def test_a_machine_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(EmulatorUnavailable, match=r"apt-get install g\+\+"):
        build.compiler.__wrapped__()


def test_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(EmulatorUnavailable, match="x86-64 Linux, not on linux aarch64"):
        build.compiler.__wrapped__()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_matrix_products_keep_their_type(device: EmulatedCudaDevice, dtype: str) -> None:
    a, b = device.empty((3, 4), dtype), device.empty((4, 2), dtype)
    a[...] = np.arange(12).reshape(3, 4)
    b[...] = np.arange(8).reshape(4, 2) / 4
    out = device.empty((3, 2), dtype)
    product = device.matmul(a, b)
    assert device.matmul(a, b, out=out) is out
    assert product.dtype == out.dtype == a.dtype
    expected = a.astype(np.float64) @ b.astype(np.float64)
    assert np.array_equal(product.astype(np.float64), expected)
    assert np.array_equal(product, out)
