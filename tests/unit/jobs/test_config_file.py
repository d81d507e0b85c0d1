"""Settings from a file: its forms, what goes before it, and what is said of mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpcnn.core.errors import UsageError
from cpcnn.jobs import RunDirectory, TrainSettings
from cpcnn.jobs.config_file import ConfigFile


def read(folder: Path, text: str) -> ConfigFile:
    path = folder / "c.toml"
    path.write_text(text, "utf-8")
    return ConfigFile.read(path)


@pytest.mark.parametrize("head", ["", "[train]\n", '\ufeff[run]\ncpcnn = "1"\n[train]\n'])
def test_settings_stand_in_a_table_or_at_the_top(tmp_path: Path, head: str) -> None:
    text = head + 'data = "images"\nepochs = 3\nlr = 1\nfreeze = ["stem"]\nweights = "runs/a"\n'
    settings = read(tmp_path, text).settings({})
    assert settings == TrainSettings(
        Path("images"), epochs=3, lr=1, freeze=("stem",), weights=Path("runs/a")
    )


def test_one_pattern_need_not_be_a_list(tmp_path: Path) -> None:
    settings = read(tmp_path, 'freeze = "stage*"').settings({"data": Path("d")})
    assert settings.freeze == ("stage*",)


def test_what_is_given_goes_before_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, 'data = "images"\nepochs = 3\nseed = 4\n')
    settings = config.settings({"epochs": 5, "data": Path("others")})
    assert (settings.epochs, settings.seed, settings.data) == (5, 4, Path("others"))


def test_a_runs_own_settings_give_the_same_settings(tmp_path: Path) -> None:
    asked = TrainSettings(
        tmp_path / "images", epochs=4, flip=False, freeze=("stem",), ema=0.9, name="x"
    )
    run = RunDirectory.claim(tmp_path / "run")
    run.write_settings(asked.to_config())
    again = ConfigFile.read(run.path / "settings.toml").settings({"name": "x"})
    assert again == asked


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed = 1\nepoch = 3\n", "c.toml, line 2: there is no setting 'epoch'."),
        ("seed = 1\nepoch = 3\n", "Did you mean 'epochs'?"),
        ('[train]\n\n"batch-size" = 8\n', "line 3: there is no setting 'batch-size'."),
        ("batch-size = 8\n", "Did you mean 'batch_size'?"),
        ('epochs = "ten"\n', "line 1: epochs is 'ten'; it must be a whole number of at least 1."),
        ("\nflip = 1\n", "line 2: flip is 1; it must be true or false."),
        ("model = 9\n", "line 1: model is 9; it must be text."),
        ("epochs = 1.5\n", "line 1: epochs is 1.5; it must be a whole number"),
        (f"epochs = {'9' * 400}\n", "9; it must be a whole number of at least 1."),
        (f"weight_decay = {'9' * 400}\n", "9; it must be a number at least 0."),
        (f"epochs = {'9' * 5000}\n", "c.toml is not TOML"),
        ("lr = [1]\n", "line 1: lr is [1]; it must be a number above 0, or auto."),
        ('optimizer = "adamx"\n', "line 1: optimizer is 'adamx'; it must be one of"),
        ('optimizer = "adamx"\n', "Did you mean 'adam"),
        ("ema = 2\n", "line 1: ema is 2; it must be"),
        ("epochs 3\n", "c.toml is not TOML: "),
        ("seed = 1\nseed = 2\n", "c.toml is not TOML: "),
        ("train = 3\n", "train is 3; it must be a table"),
        ("seed = 1\n[train]\nepochs = 2\n", "has the table [train], and 'seed' beside it"),
        ('momentum = 0.5\noptimizer = "lamb"\n', "--momentum goes with sgd and rmsprop"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text).settings({"data": Path("images")})
    assert said in str(caught.value)


def test_a_mistake_on_the_command_line_is_not_the_files(tmp_path: Path) -> None:
    config = read(tmp_path, "epochs = 3\nlr = 0.1\n")
    with pytest.raises(UsageError) as caught:
        config.settings({"data": Path("images"), "epochs": 0})
    assert caught.value.message.startswith("--epochs is 0")


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "c.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"cannot be read from .*c\.toml"):
        ConfigFile.read(path)
