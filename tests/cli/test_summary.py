"""`cpcnn summary`: runs, checkpoints and ready networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cpcnn.layers import Conv2D, Flatten, Lambda
from cpcnn.models import Sequential

from .conftest import call, document_of, error_of


def test_the_last_run(run: Path) -> None:
    result = call("summary")
    assert result.exit_code == 0, result.output
    text = result.stdout
    assert text.startswith(f"Model: {run}/best.cpcnn, 16x16x3 images to 3 outputs\n")
    assert re.search(r"(?m)^conv2d +Conv2D +16x16x8 +224 +55\.3 k$", text)
    assert "Parameters:    9,715 (37.9 KiB): 9,715 trainable, 0 not" in text
    assert re.search(r"about [\d.]+ [KM]iB to classify, [\d.]+ [KM]iB to train", text)
    assert "(batch 32, adamw)" in text.replace("\n               ", " ")
    assert max(map(len, text.splitlines())) <= 80
    assert call("summary", run).stdout == text == call("summary", run / "best.cpcnn").stdout


def test_the_document(run: Path) -> None:
    document = document_of(call("summary", "--json", "--batch-size", 8))
    assert document["model"] == f"{run}/best.cpcnn"
    assert document["input_shape"] == [16, 16, 3]
    assert document["classes"] == ["bus", "car", "van"]
    first = document["layers"][0]
    assert first["path"] == "conv2d"
    assert first["output_shape"] == [16, 16, 8]
    assert first["multiply_adds"] == 16 * 16 * 9 * 3 * 8
    assert first["kept_bytes"] == 16 * 16 * (3 + 8) * 4
    for name in ("parameters", "multiply_adds"):
        assert document[name] == sum(layer[name] for layer in document["layers"])
    memory = document["memory"]
    assert memory["batch_size"] == 8
    assert memory["inference_bytes"] < memory["training_bytes"]
    kept = sum(layer["kept_bytes"] for layer in document["layers"])
    assert kept == memory["kept_bytes_per_image"]


def test_a_ready_network() -> None:
    document = document_of(
        call("summary", "resnet9", "--img-size", 16, "--channels", 1, "--classes", 7,
             "--width", 0.25, "--json")
    )  # fmt: skip
    assert document["input_shape"] == [16, 16, 1]
    assert document["output_shape"] == [7]
    assert document["classes"] is None
    assert document["parameters"] > document["trainable_parameters"]
    wider = document_of(call("summary", "resnet9", "--img-size", 16, "--json"))
    assert wider["multiply_adds"] > 10 * document["multiply_adds"]
    assert wider["memory"]["batch_size"] == 32


def test_the_path_of_a_container_stands_above_its_layers() -> None:
    lines = call("summary", "resnet9", "--width", 0.125).stdout.splitlines()
    place = lines.index("residual1.body.stack_1")
    assert lines[place + 1].split()[:2] == ["conv", "Conv2D"]
    assert lines[place + 1].startswith("  conv ")
    assert lines[place + 2].startswith("  bn ")
    assert any(line.startswith("head ") for line in lines)


def test_what_training_keeps() -> None:
    plain, train = call("summary", "simple").stdout, call("summary", "simple", "--train").stdout
    assert "Kept" not in plain
    assert re.search(r"(?m)^conv2d .* 885 k +140 KiB$", train)
    assert "kept for backward" in train
    assert max(map(len, train.splitlines())) <= 80


def test_a_batch_size_scales_the_memory() -> None:
    one, two, three = (
        document_of(call("summary", "simple", "-b", size, "--json"))["memory"]["training_bytes"]
        for size in (100, 200, 300)
    )
    assert one < two < three
    assert three - two == two - one


def test_a_network_that_is_too_large_here_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cpcnn.jobs.summary.available_memory", lambda: 10_000)
    assert "not estimated: one image may not fit" in call("summary", "simple", "--train").stdout
    memory = document_of(call("summary", "simple", "--json"))["memory"]
    assert memory["training_bytes"] is memory["inference_bytes"] is None


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("resnet81",), 5, "Did you mean 'resnet18'?"),
        (("nothing/here",), 5, "nothing/here does not exist."),
        ((), 2, "There is no trained run"),
        (("simple", "--img-size", 3), 2, "--img-size is 3; it must be a whole number from 8"),
        (("simple", "--channels", 0), 2, "--channels is 0"),
        (("simple", "--classes", 0), 2, "--classes is 0"),
        (("simple", "--width", "nan"), 2, "--width is nan"),
        (("simple", "-b", 0), 2, "--batch-size is 0"),
    ],
)
def test_mistakes(work: Path, arguments: tuple[object, ...], exit_code: int, message: str) -> None:
    assert message in " ".join(error_of(call("summary", *arguments), exit_code).split())


@pytest.mark.parametrize("option", ["--img-size", "--channels", "--classes", "--width"])
def test_a_run_knows_its_own_sizes(run: Path, option: str) -> None:
    error = error_of(call("summary", run, option, 3 if option == "--channels" else 8), 2)
    assert f"{option} goes with the name of a ready network" in error


def test_a_run_goes_before_a_network_of_the_same_name(run: Path) -> None:
    run.rename("simple")
    assert "Model: simple/best.cpcnn" in call("summary", "simple").stdout


def test_quiet_shows_the_result_alone(run: Path) -> None:
    result = call("summary", "--quiet")
    assert result.stderr == ""
    assert "Multiply-adds" in result.stdout


def test_a_checkpoint_that_is_no_classifier(work: Path) -> None:
    model = Sequential([Conv2D(2, 3, input_shape=(5, 5, 1), name="a\u202eb"), Flatten()])
    model.build(device="cpu")
    model.save("model.cpcnn")
    result = call("summary", "model.cpcnn")
    assert result.exit_code == 0, result.output
    assert r"a\u202eb" in result.stdout
    assert "5x5x1 images to 18 outputs" in result.stdout


def test_a_damaged_checkpoint(work: Path) -> None:
    Path("model.cpcnn").write_bytes(b"PK and nothing else")
    error_of(call("summary", "model.cpcnn"), 5)


def test_lambda_layers_need_not_be_understood() -> None:
    from cpcnn.layers.summary import layer_rows

    rows = layer_rows(Lambda(lambda xp, x: x, lambda xp, dy, x: dy), (3, 3, 1))
    assert [row.multiply_adds for row in rows] == [0]
