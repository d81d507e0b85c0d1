"""Training images are known again: by their content, else by their places."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpcnn.core.errors import DataError
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.jobs.image_choice import RecordedSplit
from cpcnn.jobs.run_directory import SplitRow
from cpcnn.jobs.trained_images import TrainedImages, find_trained

ROOT = Path("/data")


def recorded(*rows: tuple[str, str, str], root: Path | None = ROOT) -> RecordedSplit:
    """Make what a run recorded from (path, split, digest)."""
    return RecordedSplit(
        root, tuple(SplitRow(path, "cat", split, "", digest) for path, split, digest in rows)
    )


def found(run: RecordedSplit, files: dict[str, str], root: Path = ROOT) -> TrainedImages:
    samples = [Sample(root / name, "cat") for name in files]
    return find_trained(run, root, samples, list(files.values()))


RUN = recorded(
    ("cat/1.png", "train", "aa"), ("cat/2.png", "train", ""), ("v.png", "validation", "cc")
)


def test_content_decides_under_any_name() -> None:
    trained = found(RUN, {"x.png": "aa", "v.png": "cc", "cat/2.png": ""}, Path("/elsewhere"))
    assert trained.names == ("x.png",)
    assert trained.note == (
        "The model was trained on 1 of these 3 images (x.png, in training cat/1.png): "
        "the figures say little about new ones."
    )
    with pytest.raises(DataError, match="trained on 1 of these 3 images") as caught:
        trained.refuse()
    assert "--strict-split" in caught.value.suggestion


def test_a_folder_inside_the_data_needs_no_second_name() -> None:
    note = found(RUN, {"1.png": "aa"}, Path("/elsewhere")).note
    assert "1 of these 1 images (1.png): " in note


def test_new_content_at_an_old_place_is_new() -> None:
    trained = found(RUN, {"cat/1.png": "dd"})
    assert trained == TrainedImages()
    trained.refuse()


def test_three_examples_are_enough() -> None:
    files = {f"{number}.png": f"{number:02}" for number in range(5)}
    run = recorded(*((name, "train", digest) for name, digest in files.items()))
    assert "5 of these 5 images (0.png; 1.png; 2.png; …):" in found(run, files).note


def test_without_content_places_decide() -> None:
    run = recorded(
        ("train/a", "train", ""), ("train/b", "train", ""), ("train/v", "validation", "")
    )
    trained = found(run, {"a": "11", "b": "22", "v": "33"}, Path("/data/train"))
    assert trained.names == ("a", "b")
    assert "trained on 2 of these 3 images (a; b)" in trained.note


@pytest.mark.parametrize("root", [Path("/elsewhere"), None])
def test_names_alone_are_a_hint_and_no_reason_to_refuse(root: Path | None) -> None:
    trained = found(recorded(("a", "train", ""), root=root), {"a": "11", "x": "22"})
    assert "1 of these 2 images have the names" in trained.note
    assert not trained.names
    trained.refuse()
