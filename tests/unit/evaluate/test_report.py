"""The report equals scikit-learn's as text and as a dictionary; its tables can be read back."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import classification_report

from cpcnn.core.errors import ShapeError
from cpcnn.evaluate import ClassificationReport
from cpcnn.metrics import ConfusionMatrix

# Names as people give to folders, and some that would upset a careless table.
NAMES = [
    "cat",
    "T-shirt/top",
    "a much longer name than 'weighted avg' is",
    "Straße",
    "高速道路",
    "é",
    "🚦 red",
    "",
    "name, with \"quotes\"",
    "{0:d} %s",
    "=SUM(A1)",
    "line\nbreak",
]  # fmt: skip

names = st.lists(
    st.sampled_from(NAMES) | st.text(max_size=20), min_size=1, max_size=12, unique=True
)
seeds = st.integers(0, 2**32 - 1)


def predicted_case(k: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw labels and predictions of at most k classes; some classes often do not occur."""
    rng = np.random.default_rng(seed)
    used = rng.integers(0, k, (2, rng.integers(1, k + 1)))
    n = int(rng.integers(1, 3000))
    labels, guesses = (rng.choice(numbers, n) for numbers in used)
    return labels, np.where(rng.random(n) < 0.5, labels, guesses)


def report_of(
    classes: list[str], labels: NDArray[np.int64], predicted: NDArray[np.int64]
) -> ClassificationReport:
    matrix = ConfusionMatrix(len(classes))
    matrix.update(labels, predicted)
    return ClassificationReport(tuple(classes), matrix.counts)


@given(names, seeds, st.sampled_from([2, 4]))
def test_text_equals_scikit_learns(classes: list[str], seed: int, digits: int) -> None:
    labels, predicted = predicted_case(len(classes), seed)
    occurring = [classes[i] for i in np.union1d(labels, predicted)]
    expected = classification_report(
        labels, predicted, target_names=occurring, digits=digits, zero_division=0
    )
    assert report_of(classes, labels, predicted).to_text(digits) == expected


@given(names, seeds)
def test_dictionary_equals_scikit_learns(classes: list[str], seed: int) -> None:
    labels, predicted = predicted_case(len(classes), seed)
    occurring = [classes[i] for i in np.union1d(labels, predicted)]
    expected = classification_report(
        labels, predicted, target_names=occurring, output_dict=True, zero_division=0
    )
    own = report_of(classes, labels, predicted).to_dict()
    assert own == expected
    assert list(own) == list(expected)
    assert json.loads(json.dumps(own)) == own


def test_the_layout() -> None:
    report = ClassificationReport(("cat", "dog"), np.array([[8, 2], [1, 9]]))
    assert report.to_text() == (
        "              precision    recall  f1-score   support\n"
        "\n"
        "         cat       0.89      0.80      0.84        10\n"
        "         dog       0.82      0.90      0.86        10\n"
        "\n"
        "    accuracy                           0.85        20\n"
        "   macro avg       0.85      0.85      0.85        20\n"
        "weighted avg       0.85      0.85      0.85        20\n"
    )


def test_a_class_named_like_an_average_keeps_its_row() -> None:
    report = ClassificationReport(("accuracy", "cat"), np.array([[3, 1], [0, 4]]))
    assert report.to_dict()["accuracy"] == 7 / 8
    assert [(row.name, row.recall, row.support) for row in report.rows] == [
        ("accuracy", 0.75, 4),
        ("cat", 1.0, 4),
    ]


def test_a_class_without_images_is_named_and_lowers_no_average() -> None:
    report = ClassificationReport(("bus", "car", "tram"), np.diag([4, 0, 6]))
    assert report.missing == ("car",)
    assert [row.name for row in report.rows] == ["bus", "tram"]
    assert report.macro.recall == 1
    assert report.notes() == ["No image of 'car': the averages are over the classes that occur."]


def test_a_class_without_images_that_was_predicted_counts() -> None:
    report = ClassificationReport(("bus", "car"), np.array([[3, 1], [0, 0]]))
    assert report.missing == ("car",)
    assert [row.name for row in report.rows] == ["bus", "car"]
    assert report.macro.recall == 0.375


def test_complete_data_needs_no_note() -> None:
    assert ClassificationReport(("a", "b"), np.eye(2, dtype=np.int64)).notes() == []


def test_most_confused_pairs() -> None:
    counts = np.array([[50, 2, 0], [7, 40, 2], [0, 2, 9]])
    report = ClassificationReport(("a", "b", "c"), counts)
    assert report.most_confused() == [
        ("b", "a", 7),
        ("a", "b", 2),
        ("b", "c", 2),
        ("c", "b", 2),
    ]
    assert report.most_confused(1) == [("b", "a", 7)]
    assert report.most_confused(0) == []
    assert json.dumps(report.most_confused(1)) == '[["b", "a", 7]]'


def test_no_confusion_no_pairs() -> None:
    assert ClassificationReport(("a", "b"), np.diag([3, 4])).most_confused() == []


@given(names, seeds)
def test_the_confusion_table_can_be_read_back(classes: list[str], seed: int) -> None:
    report = report_of(classes, *predicted_case(len(classes), seed))
    (_, *columns), *rows = csv.reader(io.StringIO(report.confusion_csv(), newline=""))
    assert columns == [row[0] for row in rows] == classes
    assert [[int(cell) for cell in row[1:]] for row in rows] == report.counts.tolist()


def test_names_that_are_no_unicode_are_written_as_they_were(tmp_path: Path) -> None:
    name = b"caf\xe9".decode("utf-8", "surrogateescape")
    report = ClassificationReport((name, "tea\r\nroom"), np.eye(2, dtype=np.int64))
    report.write_confusion_csv(tmp_path / "confusion.csv")
    written = (tmp_path / "confusion.csv").read_bytes()
    rows = [b'true \\ predicted,caf\xe9,"tea\r\nroom"', b"caf\xe9,1,0", b'"tea\r\nroom",0,1', b""]
    assert written == b"\r\n".join(rows)


def test_classes_and_counts_must_fit() -> None:
    with pytest.raises(ShapeError, match=r"3 classes need .* \(3, 3\), found \(2, 2\)"):
        ClassificationReport(("a", "b", "c"), np.eye(2, dtype=np.int64))
