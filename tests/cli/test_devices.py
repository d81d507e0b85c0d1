"""`cpcnn devices`: what can compute here, why not, and who would compute what."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from click.testing import Result

from cpcnn.core.errors import DeviceError
from cpcnn.devices import Device, register_device, registry
from cpcnn.devices.base import makes
from cpcnn.devices.registry import implementations
from cpcnn.ops import REFERENCE

from .conftest import call, document_of, error_of


class ConvolutionOfGlassBeads(REFERENCE["conv2d"][-1]):  # type: ignore[misc]
    """An implementation."""


class ConvolutionOfWoodenBeads(REFERENCE["conv2d"][-1]):  # type: ignore[misc]
    """Another: both names together take more than a line."""


class Abacus(Device):
    name = "abacus"
    fast = {"conv2d": (ConvolutionOfGlassBeads, ConvolutionOfWoodenBeads)}  # noqa: RUF012


@pytest.fixture(autouse=True)
def forget_registrations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def register_broken_abacus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An abacus that cannot be used, whose table is known."""

    def create(index: int | None, threads: int | None) -> Device:
        raise DeviceError("the abacus has lost its beads.", suggestion="Buy-some-beads " * 9)

    monkeypatch.setattr(registry, "Abacus", Abacus, raising=False)
    register_device("abacus", makes("cpcnn.devices.registry:Abacus")(create))


def rows_of(result: Result) -> dict[str, dict[str, str]]:
    """Return the names of a table by op and device."""
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows: dict[str, dict[str, str]] = {}
    op = device = ""
    width = max(map(len, REFERENCE))
    for line in lines[lines.index("") + 1 :]:
        name, found = line[:width].strip(), line[width + 2 :]
        place = found.split("  ")[0]
        op = name or op
        if not name and not place:  # goes on with the row before
            rows[op][device] += " " + found.strip()
            continue
        device = place
        rows.setdefault(op, {})[device] = found.removeprefix(place).strip()
    return rows


def test_every_op_and_the_order_of_asking() -> None:
    rows = rows_of(call("devices", "--ops"))
    assert list(rows) == list(REFERENCE)
    assert rows["conv2d"]["cpu"] == "WinogradConv2D, DepthwiseConv2D, GatherConv2D, reference"
    assert rows["concat"]["cpu"] == "reference"
    assert "numpy" not in rows["conv2d"]  # has none of its own


def test_one_device() -> None:
    assert rows_of(call("devices", "--ops", "--device", "numpy"))["dense"] == {"numpy": "reference"}
    chosen = document_of(call("devices", "--json"))["auto"]
    assert rows_of(call("devices", "--ops", "--device", "auto"))["dense"].keys() == {chosen}
    assert "no device named 'cup'" in error_of(call("devices", "--ops", "--device", "cup"), 4)
    assert "--ops" in error_of(call("devices", "--device", "cpu"), 2)


def test_a_device_that_cannot_be_used_shows_what_it_would_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register_broken_abacus(monkeypatch)
    result = call("devices", "--ops")
    names = "ConvolutionOfGlassBeads, ConvolutionOfWoodenBeads, reference"
    assert rows_of(result)["conv2d"]["abacus"] == names
    assert "abacus cannot be used here" in result.stdout
    assert "cpu cannot be used here" not in result.stdout
    assert rows_of(call("devices", "--ops", "--device", "abacus"))["add"] == {"abacus": "reference"}


def test_a_device_of_which_nothing_is_known() -> None:
    def create(index: int | None, threads: int | None) -> Device:
        raise DeviceError("the quipu is full.")

    register_device("quipu", create)
    assert "quipu" not in rows_of(call("devices", "--ops"))["conv2d"]
    assert "quipu is full" in error_of(call("devices", "--ops", "--device", "quipu"), 4)


def test_the_json_document_has_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    register_broken_abacus(monkeypatch)
    rows = rows_of(call("devices", "--ops"))
    document = document_of(call("devices", "--ops", "--json"))
    assert rows == {
        op: {device: ", ".join(names) for device, names in found.items()}
        for op, found in document["ops"].items()
    }
    assert "ops" not in document_of(call("devices", "--json"))
    assert {device["name"] for device in document["devices"]} >= {"abacus", "cpu", "gpu", "numpy"}


def test_the_reason_breaks_between_words_only(monkeypatch: pytest.MonkeyPatch) -> None:
    register_broken_abacus(monkeypatch)
    lines = call("devices").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.count("Buy-some-beads") for line in lines) == 9


def test_the_gpu_shows_what_it_would_use() -> None:
    names = implementations("gpu")
    assert names["conv2d"][-2:] == ["Im2colConv2D", "reference"]
    rows = rows_of(call("devices", "--ops"))
    assert rows["conv2d"]["gpu"] == ", ".join(names["conv2d"])


def test_the_gpu_says_why_it_cannot_be_used() -> None:
    if find_spec("cupy"):
        pytest.skip("a GPU may be usable here")
    text = " ".join(call("devices").stdout.split())
    assert "gpu not usable the gpu device needs CuPy, which is not installed." in text
    assert "`pip install 'cpcnn[gpu" in text
