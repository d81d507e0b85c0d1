"""The entry point: help, version, unknown commands, unexpected errors, devices and the demo."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cpcnn.devices import DeviceStatus

from .conftest import call, document_of, error_of


def test_help_lists_the_commands() -> None:
    for arguments in ((), ("--help",), ("-h",)):
        result = call(*arguments)
        assert result.exit_code == 0
        for name in ("train", "eval", "predict", "devices", "demo"):
            assert f"\n  {name} " in result.stdout


@pytest.mark.parametrize("name", ["train", "eval", "val", "predict", "devices", "demo"])
def test_every_command_has_help_of_eighty_columns(name: str) -> None:
    result = call(name, "--help")
    assert result.exit_code == 0
    assert "Usage: cpcnn" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from cpcnn_cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numpy', 'rich', 'PIL', 'scipy', 'numba', 'cupy', 'safetensors'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_version() -> None:
    from cpcnn._version import __version__

    assert call("--version").stdout == f"cpcnn {__version__}\n"


def test_unknown_commands_and_options() -> None:
    assert "Did you mean 'train'?" in error_of(call("trian", "x"), 2)
    assert "No such option" in error_of(call("--nonsense"), 2)


def test_an_unexpected_error_is_one_line_unless_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("the ice is thin")

    monkeypatch.setattr("cpcnn.devices.available_devices", fail)
    assert "Unexpected error: RuntimeError: the ice is thin" in error_of(call("devices"), 1)
    assert "Traceback" in call("devices", "--debug").stderr
    monkeypatch.setenv("CPCNN_DEBUG", "1")
    assert "Traceback" in call("devices").stderr
    monkeypatch.setenv("CPCNN_DEBUG", "0")
    document = document_of(call("devices", "--json"))
    assert document["error"]["code"] == "internal"


def test_errors_of_the_command_line_are_json_too() -> None:
    result = call("train", "--json", "--nonsense")
    assert result.exit_code == 2
    assert document_of(result)["error"]["code"] == "usage"


def test_prints_of_others_do_not_reach_a_json_document(monkeypatch: pytest.MonkeyPatch) -> None:
    def talk() -> list[DeviceStatus]:
        print("hello from a plug-in")
        return [DeviceStatus("abacus", True, "wood")]

    monkeypatch.setattr("cpcnn.devices.available_devices", talk)
    result = call("devices", "--json")
    assert document_of(result)["devices"][0]["name"] == "abacus"
    assert "hello" in result.stderr


def test_devices() -> None:
    result = call("devices")
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line[0] != " "}
    assert "usable" in lines["cpu"]
    assert "usable" in lines["numpy"]
    assert "gpu" in lines
    assert max(map(len, result.stdout.splitlines())) <= 80
    document = document_of(call("devices", "--json"))
    assert {device["name"] for device in document["devices"]} >= {"cpu", "numpy", "gpu"}


def test_a_reader_that_leaves_early_is_no_error(run: Path, images: Path) -> None:
    command = "from cpcnn_cli.main import main; main()"
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "-c", command, "predict", "--quiet", str(images / "test")],
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 141


@pytest.fixture
def small_demo(monkeypatch: pytest.MonkeyPatch, work: Path) -> Path:
    monkeypatch.setattr("cpcnn.jobs.demo.PER_CLASS", 6)
    monkeypatch.setattr("cpcnn.jobs.demo.SIZE", 16)
    monkeypatch.setattr("cpcnn.jobs.demo.EPOCHS", 1)
    return work


def test_the_demo_trains_and_reports_and_can_be_repeated(small_demo: Path) -> None:
    result = call("demo")
    assert result.exit_code == 0, result.output
    assert "$ cpcnn train cpcnn-demo/images --width 0.125 --epochs 1" in result.stderr
    assert "macro avg" in result.stdout
    drawn = Path("cpcnn-demo/images/train").stat().st_mtime_ns
    assert call("demo").exit_code == 0
    assert Path("cpcnn-demo/images/train").stat().st_mtime_ns == drawn
    for number in (1, 2):
        report = json.loads(Path(f"cpcnn-demo/run-{number}/report.json").read_text())
        assert report["split"] == "test"
    assert [path.name for path in small_demo.iterdir()] == ["cpcnn-demo"]


def test_the_demo_respects_the_folders_of_others(small_demo: Path) -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    assert "was not made by `cpcnn demo`" in error_of(call("demo", "-o", "mine"), 2)
    assert [path.name for path in Path("mine").iterdir()] == ["letter.txt"]
    assert "Cannot write mine/letter.txt" in error_of(call("demo", "-o", "mine/letter.txt"), 2)
    Path("empty").mkdir()
    assert call("demo", "-o", "empty").exit_code == 0


def test_an_interrupted_drawing_is_done_again(small_demo: Path) -> None:
    assert call("demo").exit_code == 0
    (small_demo / "cpcnn-demo/images").rename(small_demo / "cpcnn-demo/images.partial")
    assert call("demo").exit_code == 0
    assert not Path("cpcnn-demo/images.partial").exists()
