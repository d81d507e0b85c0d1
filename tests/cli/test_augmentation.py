"""Options of augmentation, and `--preview` of check and of a dry run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from PIL import Image

from cpcnn.training import load_checkpoint, save_checkpoint

from .conftest import QUICK, call, error_of, write_classes


def drawn(path: str) -> tuple[tuple[int, int], bytes]:
    """The size and the pixels of a sheet."""
    with Image.open(path) as sheet:
        return sheet.size, sheet.tobytes()


def test_check_draws_what_training_will_see(images: Path, work: Path) -> None:
    for name, options in (("light", ()), ("strong", ("--augment", "strong"))):
        result = call("check", images, "--no-near", "--preview", f"{name}.png", *options)
        assert result.exit_code == 0
        assert f"Preview:  {name}.png" in result.stdout
    assert drawn("light.png")[0] == drawn("strong.png")[0]
    assert drawn("light.png") != drawn("strong.png")


def test_an_unsound_folder_without_images_has_no_preview(work: Path) -> None:
    (work / "data" / "a").mkdir(parents=True)
    (work / "data" / "a" / "x.png").write_bytes(b"no image")
    result = call("check", "data", "--preview", "sheet.png")
    assert result.exit_code == 3
    assert "Preview" not in result.stdout
    assert not Path("sheet.png").exists()


@pytest.mark.parametrize("command", [("check",), ("train", *QUICK, "--dry-run")])
def test_a_preview_is_a_new_file_elsewhere(command: tuple[str, ...], work: Path) -> None:
    write_classes(work / "data", {"a": 4, "b": 4})
    Path("there.png").touch()
    for path, said in (
        ("there.png", "--preview there.png exists"),
        ("data/x.png", "lies in the data folder"),
        ("none/x.png", "there is no folder none"),
    ):
        name, *options = command
        assert said in error_of(call(name, "data", *options, "--preview", path), 2)


def test_a_dry_run_draws_with_the_settings_of_the_training(images: Path, work: Path) -> None:
    dry = ("train", images, *QUICK, "--dry-run", "--preview")
    result = call(*dry, "light.png")
    assert result.exit_code == 0
    assert "Preview:    light.png" in result.stdout
    assert "nothing else is left behind" in result.stdout
    assert list(work.iterdir()) == [work / "light.png"]
    assert call(*dry, "none.png", "--augment", "none").exit_code == 0
    assert call(*dry, "flip.png", "--augment", "none", "--flip", "--shift", 0.0625).exit_code == 0
    assert drawn("light.png") == drawn("flip.png")
    assert drawn("light.png") != drawn("none.png")
    said = error_of(call("train", images, *QUICK, "--preview", "x.png"), 2)
    assert "--preview goes with --dry-run" in said


def test_a_training_with_every_option(images: Path, work: Path) -> None:
    options = (
        "--augment", "medium", "--no-flip", "--vertical-flip", "--shift", 0.1, "--rotation", 5,
        "--random-crop", 0.4, "--hue", 20, "--rand-augment", 9, "--rand-augment-steps", 1,
        "--erasing", 0.3, "--mixup", 0.2, "--cutmix", 1,
    )  # fmt: skip
    assert call("train", images, *QUICK, *options).exit_code == 0
    written = tomllib.loads(Path("runs/simple-1/settings.toml").read_text())["train"]
    assert written["augment"] == "medium"
    assert (written["flip"], written["hue"], written["rand_augment"]) == (False, 20.0, 9)
    assert "brightness" not in written  # the preset's
    again = ("--config", "runs/simple-1/settings.toml", "--augment", "strong", "--rand-augment", 0)
    assert call("train", *again).exit_code == 0
    second = tomllib.loads(Path("runs/simple-2/settings.toml").read_text())["train"]
    assert (second["augment"], second["rand_augment"], second["erasing"]) == ("strong", 0, 0.3)


def test_a_run_of_before_there_were_presets_goes_on(run: Path) -> None:
    """Its checkpoint names none, whether or not its settings have been written anew since."""
    last = load_checkpoint(run / "last.cpcnn")
    assert last.training["settings"].pop("augment") == "light"
    save_checkpoint(run / "last.cpcnn", last)
    assert call("train", "--resume", run, "--epochs", 3).exit_code == 0
    settings = run / "settings.toml"
    settings.write_text(settings.read_text().replace('augment = "light"', "hue = 10.0"))
    said = error_of(call("train", "--resume", run, "--epochs", 4), 2)
    assert "settings.toml has hue = 10.0, but the run was begun with None" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--augment", "heavy"), "'heavy' is not one of 'none', 'light', 'medium', 'strong'"),
        (("--random-crop", 1), "--random-crop is 1.0"),
        (("--rand-augment", 9, "--trivial-augment"), "are two policies"),
        (("--mixup", -1), "--mixup is -1.0"),
    ],
)
def test_what_cannot_be_meant(
    images: Path, work: Path, options: tuple[str, ...], said: str
) -> None:
    assert said in error_of(call("train", images, *QUICK, *options), 2)
