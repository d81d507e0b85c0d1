"""Why the GPU cannot be used: every cause, played by a stub driver and a double of CuPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner

from cpcnn.core.errors import DeviceError
from cpcnn.devices.cuda import driver
from cpcnn.devices.cuda.driver import Gpu
from cpcnn.devices.cuda.probe import _probe, probe, require_gpu
from cpcnn_cli.main import main

from .stub_driver import build_driver, install_cupy

CUDA_12 = ("cupy-cuda12x",)
CUDA_13 = ("cupy-cuda13x",)


@dataclass(frozen=True)
class Case:
    """A machine to play, and what must be said about it: `words` of the cause and the way out."""

    code: str
    words: tuple[str, ...]
    packages: tuple[str, ...] | None = CUDA_12  # None: no CuPy
    driver: bool = True
    index: int | None = None
    environment: dict[str, str] = field(default_factory=dict)


def case(code: str, *words: str, **rest: object) -> Case:
    known = {name: rest.pop(name) for name in ("packages", "driver", "index") if name in rest}
    environment = {name: str(value) for name, value in rest.items()}
    return Case(code, words, environment=environment, **known)  # type: ignore[arg-type]


CASES = {
    "no CuPy": case("no-cupy", "CuPy", "not installed", "pip install 'cpcnn[gpu]'", packages=None),
    "no CuPy, driver for CUDA 13": case(
        "no-cupy", "'cpcnn[gpu-cuda13]'", packages=None, STUB_VERSION=13000
    ),
    "neither CuPy nor driver": case(
        "no-cupy", "not installed", "Nor", "NVIDIA driver", packages=None, driver=False
    ),
    "two CuPys": case(
        "several-cupy",
        "2 packages",
        "cupy-cuda12x, cupy-cuda13x",
        "pip uninstall cupy-cuda12x cupy-cuda13x",
        "pip install 'cpcnn[gpu]'",
        packages=CUDA_12 + CUDA_13,
    ),
    "broken CuPy": case(
        "broken-cupy",
        "cannot be imported",
        "GLIBCXX_3.4.30",
        "--force-reinstall cupy-cuda12x",
        FAKE_CUPY="import",
    ),
    "no driver": case("no-driver", "NVIDIA driver", "libcuda.so.1", "nvidia-smi", driver=False),
    "old driver": case(
        "old-driver",
        "supports CUDA 12.4",
        "(cupy-cuda13x) is built for CUDA 13",
        "`pip uninstall cupy-cuda13x`, then `pip install 'cpcnn[gpu]'`",
        packages=CUDA_13,
        STUB_VERSION=12040,
    ),
    "driver older than any CuPy": case(
        "old-driver", "supports CUDA 11.8", "Update the driver. Or", STUB_VERSION=11080
    ),
    "old driver, CuPy of another origin": case(
        "old-driver",
        "supports CUDA 12.8",
        "(cupy) is built for CUDA 13",
        "'cpcnn[gpu]'",
        packages=("cupy",),
        FAKE_CUPY_CUDA=13000,
    ),
    "the runtime minds the driver": case(
        "old-driver",
        "supports CUDA 12.2",
        "built for CUDA 12.9",
        "Update the driver. Or",
        STUB_VERSION=12020,
        FAKE_CUPY_RUNTIME=35,
    ),
    "the runtime calls what the driver lacks": case(
        "old-driver", "built for CUDA 12.9", FAKE_CUPY_RUNTIME=36
    ),
    "no GPU, says cuInit": case("no-gpu", "shows no GPU", "nvidia-smi", STUB_INIT=100),
    "no GPU, says the count": case("no-gpu", "shows no GPU", "nvidia-smi", STUB_COUNT=0),
    "all GPUs hidden": case(
        "no-gpu",
        "shows no GPU (CUDA_VISIBLE_DEVICES is '-1')",
        "Unset CUDA_VISIBLE_DEVICES",
        STUB_COUNT_STATUS=100,
        CUDA_VISIBLE_DEVICES=-1,
    ),
    "mismatch": case(
        "mismatch",
        "differ in version",
        "error 803, CUDA_ERROR_SYSTEM_DRIVER_MISMATCH",
        "Restart",
        STUB_INIT=803,
    ),
    "mismatch, says the runtime": case("mismatch", "error 803", FAKE_CUPY_RUNTIME=803),
    "driver not ready": case(
        "broken", "error 802, CUDA_ERROR_SYSTEM_NOT_READY", "nvidia-smi", STUB_INIT=802
    ),
    "an error without a name": case("broken", "error 4321, unknown", STUB_INIT=4321),
    "no version": case("broken", "error 999", STUB_VERSION_STATUS=999),
    "the runtime fails": case("broken", "error 46, CUDARuntimeError", FAKE_CUPY_RUNTIME=46),
    "gpu:7 of 1": case("no-such-gpu", "no gpu:7: there is 1 GPU", "gpu:0 (Stub 0)", index=7),
    "gpu:2 of 2": case(
        "no-such-gpu",
        "there are 2 GPUs (CUDA_VISIBLE_DEVICES is '0,1')",
        "gpu:1 (Stub 1)",
        index=2,
        STUB_COUNT=2,
        CUDA_VISIBLE_DEVICES="0,1",
    ),
    "no NVRTC": case(
        "no-nvrtc", "NVRTC", "libnvrtc.so.12", "'cpcnn[gpu]'", "CUDA_PATH", FAKE_CUPY="nvrtc"
    ),
    "no NVRTC of CUDA 13": case(
        "no-nvrtc",
        "'cpcnn[gpu-cuda13]'",
        packages=CUDA_13,
        STUB_VERSION=13000,
        FAKE_CUPY="nvrtc",
        FAKE_CUPY_CUDA=13000,
    ),
    "no cuBLAS": case("no-cublas", "cuBLAS", "libcublas.so.12", "'cpcnn[gpu]'", FAKE_CUPY="cublas"),
    "no headers": case(
        "no-headers", "CUDA headers", '"cuda_fp16.h"', "'cpcnn[gpu]'", FAKE_CUPY="headers"
    ),
    "a kernel does not run": case(
        "kernel-fails", "gpu:0", "CUDA_ERROR_ILLEGAL_ADDRESS", "nvidia-smi", FAKE_CUPY="launch"
    ),
    "a kernel computes wrongly": case(
        "kernel-fails", "wrong result on gpu:0", "nvidia-smi", FAKE_CUPY="result"
    ),
}
CODES = {
    *("no-cupy", "several-cupy", "broken-cupy", "no-driver", "old-driver", "no-gpu", "mismatch"),
    *("broken", "no-such-gpu", "no-nvrtc", "no-cublas", "no-headers", "kernel-fails"),
}
# One machine for each cause goes through the command line, which takes a process of its own.
FIRST = {found.code: found for found in reversed(CASES.values())}

without_cupy = pytest.mark.skipif(
    find_spec("cupy") is not None, reason="CuPy is installed, its double cannot take its place"
)


@pytest.fixture(scope="session")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stub driver."""
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def play(stub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Make this process see the machine of a case."""

    def arrange(machine: Case) -> None:
        for name in [*filter(is_ours, os.environ)]:
            monkeypatch.delenv(name)
        for name, value in machine.environment.items():
            monkeypatch.setenv(name, value)
        library = stub if machine.driver else tmp_path / "libcuda.so.1"
        monkeypatch.setattr(driver, "LIBRARY", str(library))
        if machine.packages is not None:
            monkeypatch.syspath_prepend(install_cupy(tmp_path / "packages", *machine.packages))
        monkeypatch.delitem(sys.modules, "cupy", raising=False)
        _probe.cache_clear()

    yield arrange
    sys.modules.pop("cupy", None)
    _probe.cache_clear()


def is_ours(variable: str) -> bool:
    return variable.startswith(("STUB_", "FAKE_CUPY", "CUDA_VISIBLE_DEVICES"))


@without_cupy
@pytest.mark.parametrize("machine", CASES.values(), ids=CASES.keys())
def test_every_cause_is_told_apart(machine: Case, play) -> None:
    play(machine)
    found = probe(machine.index)
    assert found.code == machine.code
    for word in machine.words:
        assert word in f"{found.message} {found.suggestion}"
    assert found.suggestion.endswith("Or use --device cpu.")
    assert "\n" not in found.message
    assert "listdir" not in found.message  # only the first line of what libraries say
    with pytest.raises(DeviceError) as caught:
        require_gpu(machine.index)
    assert caught.value.message == found.message
    assert caught.value.suggestion == found.suggestion


def test_there_is_a_case_for_every_cause() -> None:
    assert {found.code for found in CASES.values()} == CODES


@without_cupy
def test_a_machine_that_works(play) -> None:
    play(case("ok", STUB_COUNT="2", STUB_VERSION="12020"))
    found = probe()
    assert found.code == "ok"
    assert found.gpus == (Gpu("Stub 0", 24 << 30), Gpu("Stub 1", 24 << 30))
    require_gpu()
    require_gpu(1)
    assert "gpu:1" in probe(1).message
    assert probe(2).code == "no-such-gpu"
    assert probe(2).gpus == found.gpus
    require_gpu(0)


@without_cupy
def test_a_gpu_is_examined_once(play, monkeypatch: pytest.MonkeyPatch) -> None:
    play(case("ok"))
    first = probe()
    monkeypatch.setattr(driver, "LIBRARY", "no such library")
    assert probe(0) is first
    assert probe(1).code == "no-driver"


@without_cupy
def test_the_probe_never_raises(play, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ZeroDivisionError("surprise")

    play(case("ok"))
    monkeypatch.setattr("cpcnn.devices.cuda.probe._driver", fail)
    found = probe()
    assert found.code == "broken"
    assert "ZeroDivisionError: surprise" in found.message


def test_a_library_that_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libc.so.6")
    with pytest.raises(OSError, match="has no function cuDriverGetVersion"):
        driver.Driver()


def run(machine: Case, stub: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run `cpcnn` in a process whose loader finds the stub, and whose Python finds the double."""
    environment = {name: value for name, value in os.environ.items() if not is_ours(name)}
    libraries = stub.parent
    if not machine.driver:  # hides a driver that the machine may have
        libraries = folder / "damaged"
        libraries.mkdir()
        (libraries / "libcuda.so.1").touch()
    packages = folder / "packages"
    if machine.packages is not None:
        install_cupy(packages, *machine.packages)
    environment |= {"LD_LIBRARY_PATH": str(libraries), "PYTHONPATH": str(packages)}
    command = "from cpcnn_cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command, *arguments(machine)],
        cwd=folder,
        env=environment | machine.environment,
        capture_output=True,
        text=True,
        check=False,
    )


def arguments(machine: Case) -> list[str]:
    device = "gpu" if machine.index is None else f"gpu:{machine.index}"
    return ["train", "images", "--device", device]


@without_cupy
@pytest.mark.parametrize("machine", FIRST.values(), ids=FIRST.keys())
def test_the_command_line_says_it_once(machine: Case, stub: Path, tmp_path: Path) -> None:
    done = run(machine, stub, tmp_path)
    assert done.returncode == 4
    assert done.stdout == ""
    message, suggestion = done.stderr.splitlines()  # no traceback, no warning of a library
    assert message.startswith("error: ")
    for word in machine.words:
        assert word in f"{message} {suggestion}"


@without_cupy
@pytest.mark.parametrize("machine", FIRST.values(), ids=FIRST.keys())
def test_the_json_document_says_it_too(
    machine: Case, play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(machine)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [*arguments(machine), "--json"])
    assert result.exit_code == 4
    assert result.stderr == ""
    found = probe(machine.index)
    assert json.loads(result.stdout)["error"] == {
        "code": "device",
        "message": found.message,
        "suggestion": found.suggestion,
    }


@without_cupy
def test_auto_goes_on_to_the_cpu(play) -> None:
    from cpcnn.devices import available_devices, get_device

    play(CASES["mismatch"])
    assert get_device("auto").name == "cpu"
    status = available_devices()[0]
    assert (status.name, status.usable) == ("gpu", False)
    assert status.reason == f"{probe().message} {probe().suggestion}"


def test_the_real_cupy_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed: its double stood for it")
    monkeypatch.setattr(driver, "LIBRARY", "no such library")
    _probe.cache_clear()
    assert probe().code == "no-driver"
    _probe.cache_clear()
