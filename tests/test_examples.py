"""The programs of docs/examples run to their end, on images made for the test."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path

import pytest

from cpcnn.data import write_sample_images

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples"


def test_the_articles_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    splits = (("train", 1.0), ("test", 0.5))
    write_sample_images(tmp_path / "images", per_class=4, size=32, splits=splits)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / "article.py"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "Found 20 images belonging to 5 classes.",
        "Found 10 images belonging to 5 classes.",
    ]
    scores = ast.literal_eval(lines[-1])
    assert list(scores) == ["loss", "accuracy", "recall"]
    assert scores["loss"] > 0.0
    assert 0.0 <= scores["accuracy"] <= 1.0
    assert scores["recall"] == pytest.approx(scores["accuracy"])  # classes of one size


def test_the_articles_program_imports_what_keras_has_too() -> None:
    text = (EXAMPLES / "article.py").read_text("utf-8")
    tree = ast.parse(text)
    imported = {
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == {
        ("cpcnn.layers", "Input"),
        ("cpcnn.layers", "Conv2D"),
        ("cpcnn.layers", "MaxPooling2D"),
        ("cpcnn.layers", "Flatten"),
        ("cpcnn.layers", "Dense"),
        ("cpcnn.models", "Model"),
        ("cpcnn.optimizers", "Adam"),
        ("cpcnn.losses", "categorical_crossentropy"),
        ("cpcnn.preprocessing.image", "ImageDataGenerator"),
    }
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))
