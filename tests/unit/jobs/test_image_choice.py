"""Which images an evaluation looks at."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.image_folder import ImageFolder, Sample
from cpcnn.jobs.image_choice import RecordedSplit, choose_images
from cpcnn.jobs.run_directory import SplitRow

ROOT = Path("/data")


def folder(root: Path = ROOT, **splits: str) -> ImageFolder:
    """Make a folder from split -> names of its images, all of one class."""
    samples = {
        split: tuple(Sample(root / name, "cat") for name in names.split())
        for split, names in splits.items()
    }
    return ImageFolder(root, samples, ("cat",), ())


def recorded(root: Path = ROOT, **splits: str) -> RecordedSplit:
    rows = [
        SplitRow(name, "cat", split) for split, names in splits.items() for name in names.split()
    ]
    return RecordedSplit(root, tuple(rows))


def names(choice_samples: tuple[Sample, ...]) -> list[str]:
    return [sample.path.name for sample in choice_samples]


def test_test_images_come_first() -> None:
    choice = choose_images(folder(train="a", validation="b", test="c"), RecordedSplit())
    assert (choice.split, names(choice.samples), choice.notes) == ("test", ["c"], ())


def test_then_validation_images() -> None:
    choice = choose_images(folder(train="a", validation="b"), RecordedSplit())
    assert (choice.split, names(choice.samples)) == ("validation", ["b"])


def test_then_those_that_the_run_held_out() -> None:
    run = recorded(train="a", validation="b c")
    hollow = folder(train="a b c new", validation="")
    for images in (folder(all="a b c new"), folder(train="a b c new"), hollow):
        choice = choose_images(images, run)
        assert (choice.split, names(choice.samples)) == ("validation", ["b", "c"])
        assert choice.notes == ()


def test_another_folder_is_taken_whole() -> None:
    run = recorded(Path("/elsewhere"), train="a", validation="b")
    choice = choose_images(folder(all="a b x"), run)
    assert (choice.split, names(choice.samples)) == ("all", ["a", "b", "x"])
    held_out = choose_images(folder(all="a b x"), run, "validation")
    assert names(held_out.samples) == ["b"]


def test_a_split_on_request() -> None:
    run = recorded(train="a", validation="b")
    assert names(choose_images(folder(all="a b"), run, "train").samples) == ["a"]
    other = choose_images(folder(Path("/x"), train="a b c"), run, "train")
    assert names(other.samples) == ["a", "b", "c"]


def test_images_that_are_gone() -> None:
    choice = choose_images(folder(all="a b"), recorded(train="a", validation="b c d"))
    assert choice.notes == ("2 of the run's validation images are not there any more.",)
    with pytest.raises(DataError, match="neither test nor validation"):
        choose_images(folder(all="a"), recorded(train="a", validation="b"))


def test_what_is_not_there() -> None:
    with pytest.raises(DataError, match=r"no test images \(it has: train, validation\)") as caught:
        choose_images(folder(train="a", validation="b"), RecordedSplit(), "test")
    assert caught.value.suggestion == "Choose with --split from: train, validation."
    with pytest.raises(DataError, match=r"no train images \(it has: all\)") as caught:
        choose_images(folder(all="a"), RecordedSplit(), "train")
    assert "Leave out --split" in caught.value.suggestion
    with pytest.raises(DataError, match=r"no train images \(it has: none\)"):
        choose_images(folder(all=""), RecordedSplit(), "train")
    with pytest.raises(DataError, match="neither test nor validation"):
        choose_images(folder(train="a"), RecordedSplit())
