"""Options of `cpcnn train`, its settings file and its dry run, from the command line."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpcnn.devices import Device, get_device
from cpcnn.training.checkpoint import load_checkpoint

from .conftest import QUICK, call, document_of, error_of, write_classes

TINY = ("--model", "simple", "--width", "0.1", "--device", "cpu")


def files_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def settings_of(run: str) -> dict[str, object]:
    return tomllib.loads(Path(run, "settings.toml").read_text())["train"]


# ---- The settings file -----------------------------------------------------------------------


def test_two_runs_from_one_settings_file_have_the_same_bits(run: Path, work: Path) -> None:
    config = run / "settings.toml"
    assert call("train", "--config", config, "--name", "again").exit_code == 0
    assert call("train", "--config", config, "--name", "other", "--seed", 7).exit_code == 0
    first, again, other = (
        load_checkpoint(folder / "last.cpcnn").weights
        for folder in (run, Path("runs/again"), Path("runs/other"))
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not all(np.array_equal(first[name], other[name]) for name in first)
    best, best_again = (load_checkpoint(f / "best.cpcnn") for f in (run, Path("runs/again")))
    assert all(
        np.array_equal(best.weights[name], best_again.weights[name]) for name in best.weights
    )
    assert settings_of("runs/again") == settings_of("runs/simple-1")


def test_the_command_line_goes_before_the_file(images: Path, work: Path) -> None:
    Path("c.toml").write_text('data = "nowhere"\nepochs = 3\nmodel = "simple"\nflip = false\n')
    options = ("--config", "c.toml", "--epochs", 1, "--width", "0.1", "--device", "cpu")
    assert call("train", images, *options).exit_code == 0
    settings = settings_of("runs/simple-1")
    assert (settings["epochs"], settings["flip"], settings["data"]) == (1, False, str(images))


def test_an_option_with_its_default_goes_before_the_file_too(images: Path, work: Path) -> None:
    Path("c.toml").write_text("epochs = 1\nval_fraction = 0.5\nflip = false\n")
    options = ("--config", "c.toml", "--val-fraction", 0.2, "--flip")
    assert call("train", images, *TINY, *options).exit_code == 0
    settings = settings_of("runs/simple-1")
    assert (settings["val_fraction"], settings["flip"], settings["epochs"]) == (0.2, True, 1)


def test_paths_in_a_file_start_from_the_working_directory(images: Path, work: Path) -> None:
    shutil.copytree(images, "here")
    Path("deep").mkdir()
    Path("deep/c.toml").write_text('[train]\ndata = "here"\nepochs = 1\n')
    assert call("train", "--config", "deep/c.toml", *TINY).exit_code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1\nepoch = 3\n", "c.toml, line 2: there is no setting 'epoch'."),
        ("seed = 1\nepoch = 3\n", "Did you mean 'epochs'?"),
        ('batch_size = "big"\n', "batch_size is 'big'; it must be a whole number of at least 1"),
        ("= 3", "c.toml is not TOML"),
        ("[trian]\nepochs = 1\n", "c.toml has a table [trian], which is none of settings."),
        ("[trian]\nepochs = 1\n", "Put all settings into [train]"),
    ],
)
def test_mistakes_in_a_file(images: Path, work: Path, text: str, said: str) -> None:
    Path("c.toml").write_text(text)
    assert said in error_of(call("train", images, "--config", "c.toml"), 2)
    assert [path.name for path in work.iterdir()] == ["c.toml"]


def test_data_must_be_named_somewhere(work: Path) -> None:
    Path("c.toml").write_text("epochs = 1\n")
    assert "Missing argument 'DATA'" in error_of(call("train", "--config", "c.toml"), 2)
    assert "cannot be read from none.toml" in error_of(call("train", "--config", "none.toml"), 2)


# ---- Options ---------------------------------------------------------------------------------


def test_options_reach_the_settings(images: Path, work: Path) -> None:
    options = {
        "optimizer": "rmsprop",
        "momentum": 0.5,
        "schedule": "cosine",
        "warmup_epochs": 0.5,
        "class_weights": "balanced",
        "ema": 0.9,
        "accumulate": 2,
        "clip_norm": 1.5,
        "monitor": "macro-recall",
        "patience": 4,
        "limit": 20,
    }
    words = [part for name, value in options.items() for part in (as_option(name), value)]
    result = call("train", images, *QUICK, *words, "--vertical-flip", "--freeze", "conv2d")
    assert result.exit_code == 0, result.output
    settings = settings_of("runs/simple-1")
    assert {name: settings[name] for name in options} == options
    assert settings["vertical_flip"] is True
    assert settings["freeze"] == ["conv2d"]
    assert "Note: Limited to 20 of 32 images" in result.stderr
    assert re.search(r"Note: Frozen: [\d,]+ of [\d,]+ parameters, random without", result.stderr)
    assert re.search(r"Best epoch: .*, validation accuracy .*, macro-recall 0\.\d+", result.stdout)
    epoch = next(line for line in result.stderr.splitlines() if line.startswith("Epoch"))
    assert re.search(r" val-acc 0\.\d+ recall 0\.\d+ ", epoch)
    assert max(map(len, result.stderr.splitlines()[2:])) <= 80


@pytest.mark.parametrize("options", [(), ("--exact",)])
def test_exact_reaches_the_device(
    images: Path, work: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    devices = []

    def recorded(*args: Any, **kwargs: Any) -> Device:
        devices.append(get_device(*args, **kwargs))
        return devices[-1]

    for job in ("train", "evaluate", "predict"):
        monkeypatch.setattr(f"cpcnn.jobs.{job}.get_device", recorded)
    for words in (("train", images, *QUICK), ("eval",), ("predict", images)):
        assert call(*words, *options).exit_code == 0
    assert [device.exact for device in devices] == [bool(options)] * 3
    assert settings_of("runs/simple-1")["exact"] is bool(options)


def as_option(name: str) -> str:
    return "--" + name.replace("_", "-")


def test_freeze_and_weights_from_a_run(images: Path, run: Path) -> None:
    options = ("--weights", run, "--freeze", "conv2d", "--freeze", "conv2d_1")
    result = call("train", images, *QUICK, *options)
    assert "Note: Weights of runs/simple-1/best.cpcnn: 8 of 8 arrays taken." in result.stderr
    before = load_checkpoint(run / "best.cpcnn").weights
    after = load_checkpoint(Path("runs/simple-2/best.cpcnn")).weights
    same = {name for name in before if np.array_equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith("conv2d")}


def test_early_stopping_says_so(images: Path, work: Path) -> None:
    options = ("--patience", 1, "--monitor", "loss", "--lr", 1, "--schedule", "constant")
    result = call("train", images, *TINY, "--epochs", 30, *options, "--optimizer", "sgd")
    assert result.exit_code == 0, result.output
    assert re.search(r"Stopped after \d+ of 30 epochs: the patience", result.stdout)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--optimizer", "adamx"), "Did you mean 'adam"),
        (("--schedule", "cosin"), "Did you mean 'cosine'?"),
        (("--monitor", "macro-f"), "Did you mean 'macro-f1'?"),
        (("--freez", "stem"), "Did you mean '--freeze'?"),
        (("--opt", "sdg"), "Did you mean 'sgd'?"),
        (("--resize", "sq"), "Did you mean 'squash'?"),
        (("--momentum", "0.5"), "--momentum goes with sgd and rmsprop; adamw has none."),
        (("--warmup-epochs", "1"), "--warmup-epochs is 1; it must be below --epochs"),
        (("--ema", "1"), "--ema is 1.0; it must be a number above 0 and below 1."),
        (("--accumulate", "0"), "--accumulate is 0; it must be a whole number of at least 1."),
        (("--clip-norm", "-1"), "--clip-norm is -1.0"),
        (("--patience", "0"), "--patience is 0"),
        (("--limit", "2"), "--limit is 2, fewer than the 3 classes."),
        (("--freeze", "stem"), "--freeze 'stem' matches no layer."),
        (("--freeze", "stem"), "The layers are conv2d, max_pooling2d, conv2d_1,"),
        (("--class-weights", "ballanced"), "--class-weights is 'balanced' or a file."),
    ],
)
def test_nonsense_is_refused(images: Path, work: Path, options: tuple[str, str], said: str) -> None:
    assert said in error_of(call("train", images, *QUICK, *options), 2)
    assert list(work.iterdir()) == []


def test_weights_of_nothing(images: Path, work: Path) -> None:
    result = call("train", images, *QUICK, "--weights", "nowhere")
    assert "nowhere does not exist" in error_of(result, 5)
    assert list(work.iterdir()) == []


# ---- The dry run -----------------------------------------------------------------------------


def test_a_dry_run_tells_what_would_be_trained(images: Path, work: Path) -> None:
    before = files_below(images)
    result = call("train", images, *QUICK, "--dry-run", "-b", 8, "--freeze", "conv2d")
    assert result.exit_code == 0, result.output
    assert re.search(r"Trainable:  [\d,]+ of [\d,]+ parameters", result.stdout)
    assert re.search(r"Steps:      1 epoch of [34] batches, [34] updates", result.stdout)
    assert "nothing is left behind" in result.stdout
    assert list(work.iterdir()) == []
    assert files_below(images) == before


def test_a_dry_run_refuses_what_training_would(images: Path, run: Path) -> None:
    again = call("train", images, *QUICK, "--dry-run", "-o", run)
    assert "exists and is not empty" in error_of(again, 2)
    assert (run / "best.cpcnn").is_file()
    assert call("train", "nowhere", "--dry-run").exit_code == 3


def test_a_dry_run_names_bad_files_but_lists_them_nowhere(work: Path) -> None:
    write_classes(work / "data", {"a": 6, "b": 6})
    (work / "data/a/empty.png").write_bytes(b"")
    result = call("train", "data", *QUICK, "--dry-run")
    assert "Skipped 1 unreadable file" in result.stderr
    assert "bad_files.csv" not in result.stderr
    document = document_of(call("train", "data", *QUICK, "--dry-run", "--json"))
    assert document["dry_run"] is True
    assert [Path(bad["path"]).name for bad in document["bad_files"]] == ["empty.png"]
    assert not Path("runs").exists()
