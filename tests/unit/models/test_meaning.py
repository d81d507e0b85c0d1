"""Class names and preprocessing that go into a file with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cpcnn.core.errors import CheckpointError, UsageError
from cpcnn.data import Preprocessing
from cpcnn.devices import get_device
from cpcnn.jobs.model_source import load_classifier
from cpcnn.layers import Dense, Flatten
from cpcnn.models import Input, Sequential

SHAPE = (4, 5, 1)


def network(outputs: int = 2) -> Sequential:
    model = Sequential([Input(SHAPE), Flatten(), Dense(outputs)])
    model.to("numpy")
    return model


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_model_that_carries_both_is_one_for_the_command_line(
    outputs: int, tmp_path: Path
) -> None:
    model = network(outputs)
    model.classes = ("cat", "dog")
    model.preprocessing = Preprocessing(*SHAPE).to_config()
    model.save(tmp_path / "model.cpcnn")
    classifier = load_classifier(tmp_path / "model.cpcnn", get_device("numpy"))
    assert classifier.classes == ("cat", "dog")
    assert classifier.preprocessing == Preprocessing(*SHAPE)


def test_one_that_carries_nothing_says_what_to_set(tmp_path: Path) -> None:
    model = network()
    model.save(tmp_path / "model.cpcnn")
    with pytest.raises(CheckpointError) as caught:
        load_classifier(tmp_path / "model.cpcnn", get_device("numpy"))
    assert "without its classes and preprocessing" in caught.value.message
    assert "model.classes = tuple(data.class_indices)" in caught.value.suggestion
    assert "model.preprocessing = data.preprocessing" in caught.value.suggestion
    model.classes = ("cat", "dog")
    model.save(tmp_path / "model.cpcnn")
    with pytest.raises(CheckpointError, match="without its preprocessing"):
        load_classifier(tmp_path / "model.cpcnn", get_device("numpy"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("classes", ("cat",), "names of 2 classes"),
        ("classes", ("cat", "cat"), "each another one"),
        ("classes", "ab", "'ab'"),
        ("classes", (1, 2), "names of 2 classes"),
        ("classes", 2, "names of 2 classes"),
        ("preprocessing", "no", "must be a dictionary"),
        ("preprocessing", {"rescale": 1 / 255}, "must hold exactly"),
        ("preprocessing", Preprocessing(8, 8, 3).to_config(), "makes images of shape (8, 8, 3)"),
    ],
)
def test_what_does_not_fit_the_model_is_not_saved(
    tmp_path: Path, name: str, value: Any, words: str
) -> None:
    model = network()
    setattr(model, name, value)
    with pytest.raises(UsageError) as caught:
        model.save(tmp_path / "model.cpcnn")
    assert words in caught.value.message
    assert not list(tmp_path.iterdir())
