"""Evaluation with a model that is only a table of probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import classification_report

from cpcnn.core.errors import CheckpointError, DataError
from cpcnn.data.array_dataset import ArrayDataset
from cpcnn.data.layouts.image_folder import Sample
from cpcnn.data.loader import Batch, Loader
from cpcnn.evaluate import evaluate_model


class TableModel:
    """Looks its probabilities up by the image's number, which is the image's only pixel."""

    def __init__(self, classes: Sequence[str] | None, probabilities: ArrayLike) -> None:
        self.classes = None if classes is None else tuple(classes)
        self.probabilities = np.asarray(probabilities, np.float32)

    def predict_batches(self, loader: Loader) -> Iterator[tuple[Batch, NDArray[np.float32]]]:
        for batch in loader.epoch(0):
            yield batch, self.probabilities[batch.images[:, 0, 0, 0]]


def load(labels: list[int], classes: Sequence[str] | None = None, **options: object) -> Loader:
    images = np.arange(len(labels), dtype=np.int64).reshape(-1, 1, 1, 1)
    dataset = ArrayDataset(images, np.array(labels, np.int64), classes)
    return Loader(dataset, batch_size=2, **options)  # type: ignore[arg-type]


def certain(predicted: list[int], k: int) -> NDArray[np.float32]:
    """Probabilities that put 0.9 on the predicted class."""
    rest = 0.1 / (k - 1)
    return np.where(np.eye(k, dtype=bool)[predicted], 0.9, rest).astype(np.float32)


def test_numbers_equal_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), 41).astype(np.float32)
    labels = rng.integers(0, 3, 41)
    classes = ["bus", "car", "tram"]
    result = evaluate_model(TableModel(classes, probabilities), load(labels.tolist(), classes))
    predicted = probabilities.argmax(1)
    assert result.report.to_text() == classification_report(labels, predicted, target_names=classes)
    assert result.loss == pytest.approx(-np.log(probabilities[range(41), labels]).mean(), rel=1e-5)
    assert result.accuracy == np.mean(predicted == labels)
    assert result.top_k_accuracy(5) == 1
    assert np.array_equal(result.predicted, predicted)
    assert np.array_equal(result.labels, labels)
    assert np.array_equal(result.probabilities, probabilities)
    assert result.probabilities.dtype == np.float32
    assert result.seconds > 0
    assert result.images_per_second == pytest.approx(41 / result.seconds)
    assert (result.excluded, result.unknown, result.notes()) == (0, (), [])


def test_a_shuffled_loader_gives_the_same_result() -> None:
    labels = [0, 1, 2, 2, 1, 0, 1]
    model = TableModel("abc", certain([0, 1, 2, 0, 0, 0, 1], 3))
    plain = evaluate_model(model, load(labels, "abc"))
    shuffled = evaluate_model(model, load(labels, "abc", shuffle=True, seed=3))
    assert np.array_equal(shuffled.index, np.arange(7))
    assert np.array_equal(shuffled.labels, labels)
    assert np.array_equal(shuffled.probabilities, plain.probabilities)
    assert shuffled.loss == plain.loss


def test_progress_counts_images() -> None:
    seen = []
    evaluate_model(
        TableModel("ab", certain([0] * 5, 2)),
        load([0, 1, 0, 1, 0], "ab"),
        lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_data_in_another_order_is_matched_by_name() -> None:
    # The data's tram and bus are the model's classes 2 and 0.
    model = TableModel(["bus", "car", "tram"], certain([2, 0, 1], 3))
    result = evaluate_model(model, load([0, 1, 2], ["tram", "bus", "car"]))
    assert result.accuracy == 1
    assert result.labels.tolist() == [2, 0, 1]


def test_a_class_that_the_data_lacks_is_named_and_shifts_nothing() -> None:
    model = TableModel(["bus", "car", "tram"], certain([0, 2], 3))
    result = evaluate_model(model, load([0, 1], ["bus", "tram"]))
    assert result.accuracy == result.report.macro.recall == 1
    assert result.report.missing == ("car",)
    assert result.notes() == ["No image of 'car': the averages are over the classes that occur."]


def test_an_unknown_class_is_refused_by_name() -> None:
    model = TableModel(["bus", "car"], certain([0, 0], 2))
    with pytest.raises(CheckpointError, match=r"'bike'.*'bus', 'car'"):
        evaluate_model(model, load([0, 1], ["bike", "bus"]))


def test_images_of_an_unknown_class_are_left_out_and_counted() -> None:
    model = TableModel(["bus", "car"], certain([1, 0, 1, 0], 2))
    loader = load([0, 1, 2, 0], ["bike", "bus", "car"])
    result = evaluate_model(model, loader, allow_unknown=True)
    assert result.index.tolist() == [1, 2]
    assert result.accuracy == 1
    assert result.report.total == 2
    assert (result.unknown, result.excluded) == (("bike",), 2)
    assert result.notes() == [
        "Images of classes that the model does not know, left out: 2 ('bike')."
    ]


def test_an_unknown_class_without_images_harms_nobody() -> None:
    model = TableModel(["bus", "car"], certain([0, 1], 2))
    result = evaluate_model(model, load([1, 2], ["bike", "bus", "car"]))
    assert result.accuracy == 1
    assert result.unknown == ()


def test_nothing_but_unknown_classes_is_no_evaluation() -> None:
    model = TableModel(["bus", "car"], certain([0], 2))
    with pytest.raises(DataError, match="Nothing to evaluate: 1 images"):
        evaluate_model(model, load([0], ["bike"]), allow_unknown=True)


def test_a_model_without_class_names_uses_the_datas() -> None:
    result = evaluate_model(TableModel(None, certain([0, 1], 2)), load([0, 1], ["bus", "car"]))
    assert result.report.classes == ("bus", "car")


def test_outputs_and_classes_must_agree() -> None:
    model = TableModel(None, certain([0, 1], 3))
    with pytest.raises(CheckpointError, match="3 outputs for 2 classes"):
        evaluate_model(model, load([0, 1], ["bus", "car"]))


def test_no_images_are_no_evaluation() -> None:
    with pytest.raises(DataError, match="no image"):
        evaluate_model(TableModel("ab", np.zeros((0, 2))), load([], "ab"))


def test_outputs_that_are_no_numbers_are_refused() -> None:
    probabilities = certain([0, 1, 0], 2)
    probabilities[1] = np.nan
    with pytest.raises(CheckpointError, match="1 of 3 images are not finite"):
        evaluate_model(TableModel("ab", probabilities), load([0, 1, 0], "ab"))


def test_a_true_class_of_probability_zero_has_a_finite_loss() -> None:
    result = evaluate_model(TableModel("ab", [[1, 0]]), load([1], "ab"))
    assert result.loss == pytest.approx(-np.log(np.finfo(np.float32).tiny))


def test_paths_come_with_the_images() -> None:
    loader = load([0, 1, 0], "ab")
    loader.dataset.samples = [Sample(Path(f"{i}.png"), "a") for i in range(3)]  # type: ignore[attr-defined]
    result = evaluate_model(TableModel("ab", certain([0, 1, 0], 2)), loader)
    assert [path.name for path in result.paths] == ["0.png", "1.png", "2.png"]


def test_arrays_have_no_paths() -> None:
    assert evaluate_model(TableModel("ab", certain([0], 2)), load([0], "ab")).paths == ()
