"""`--json`: what docs/json.md says is what the commands print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from cpcnn.core import errors

from .conftest import QUICK, call, document_of

PAGE = (Path(__file__).parents[2] / "docs/json.md").read_text("utf-8")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
Table = dict[str, str]


def section(title: str) -> str:
    """Return the text below a heading of the page."""
    _, found, rest = PAGE.partition(f"\n## {title}\n")
    assert found, f"docs/json.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def tables(title: str) -> list[Table]:
    """Return the tables of a section as {key: type}."""
    parts = section(title).split("| key | type | what |\n|---|---|---|\n")[1:]
    return [
        dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", p.split("\n\n")[0], re.M)) for p in parts
    ]


def check(document: dict[str, Any], table: Table) -> None:
    """Check that an object has the keys of a table, and values of their types."""
    found = {key: value for key, value in document.items() if key != "schema_version"}
    assert found.keys() == table.keys()
    for key, value in found.items():
        allowed = [kind for name in table[key].split(" or ") for kind in TYPES[name]]
        assert type(value) in allowed, f"{key} is {value!r}, not {table[key]}"


def test_train(images: Path, work: Path) -> None:
    whole, epoch = tables("train")
    document = document_of(call("train", images, *QUICK, "--monitor", "macro-f1", "--json"))
    check(document, whole)
    for entry in document["history"]:
        check(entry, epoch)
    assert document["history"][0]["validation_metrics"].keys() == {"macro_f1"}


def test_dry_run(images: Path, work: Path) -> None:
    (table,) = tables("train --dry-run")
    check(document_of(call("train", images, *QUICK, "--dry-run", "--json")), table)


@pytest.mark.parametrize("command", ["eval", "summary", "devices"])
def test_commands_without_arguments(run: Path, command: str) -> None:
    check(document_of(call(command, "--json")), tables(command)[0])


def test_eval_keeps_its_document(run: Path) -> None:
    document = document_of(call("eval", "--json"))
    (true, *_), (predicted, *_) = document["confusion"], document["classes"]
    assert len(true) == len(document["classes"])
    assert document["report"][predicted].keys() == {"precision", "recall", "f1-score", "support"}


def test_ops(work: Path) -> None:
    table = tables("devices")[0] | tables("devices")[1]
    check(document_of(call("devices", "--ops", "--device", "cpu", "--json")), table)


def test_predict(run: Path, images: Path) -> None:
    Path("bad.png").write_bytes(b"")
    good = images / "test/bus/000.png"
    document = document_of(call("predict", good, "bad.png", "--json"))
    check(document, tables("predict")[0])
    first, second = document["predictions"]
    assert first.keys() == {"path", "predictions"}
    assert first["predictions"][0].keys() == {"class", "probability"}
    assert second.keys() == {"path", "error"}


def test_check(images: Path, work: Path) -> None:
    whole, finding = tables("check")
    document = document_of(call("check", images, "--json"))
    check(document, whole)
    assert document["findings"]  # its images are few
    for entry in document["findings"]:
        check(entry, finding)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (("train", "nowhere"), 3, "data"),
        (("train",), 2, "usage"),
        (("train", "x", "--epoch", "3"), 2, "usage"),
        (("trian",), 2, "usage"),
        (("train", "nowhere", "--device", "abacus"), 4, "device"),
        (("eval", "nowhere"), 5, "checkpoint"),
    ],
)
def test_errors(work: Path, arguments: tuple[str, ...], exit_code: int, code: str) -> None:
    result = call(*arguments, "--json")
    assert result.exit_code == exit_code
    assert result.stderr == ""
    document = document_of(result)
    assert document.keys() == {"schema_version", "error"}
    check(document["error"], tables("Errors")[0])
    assert document["error"]["code"] == code


def test_a_suggestion_is_the_nearest_word(work: Path) -> None:
    error = document_of(call("train", "x", "--epoch", "3", "--json"))["error"]
    assert error["message"] == "No such option '--epoch'."
    assert error["suggestion"].startswith("Did you mean '--epochs'? See")


def test_every_code_is_in_the_table() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+) \|", section("Errors"), re.M)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    known = {(kind.code, str(kind.exit_code)) for kind in kinds if hasattr(kind, "exit_code")}
    assert known | {("interrupted", "130"), ("memory", "1")} == set(rows)
