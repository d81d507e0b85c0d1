"""What outputs mean: metrics of training and validation, and networks with one output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader
from cpcnn.evaluate import evaluate_model
from cpcnn.layers import Activation, Dense, Flatten, Stack
from cpcnn.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Loss,
    MeanSquaredError,
)
from cpcnn.metrics import Metric, get_metric
from cpcnn.models import Model
from cpcnn.optimizers import SGD
from cpcnn.training import EpochEnded, Trainer, load_checkpoint

SHAPE = (3, 3, 1)


class Keeper(Metric):
    """Keeps what a metric is told."""

    name = "keeper"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.labels: list[Any] = []
        self.rows: list[Any] = []

    def update(self, labels: Any, probabilities: Any) -> None:
        self.labels.extend(labels.tolist())
        self.rows.extend(probabilities.tolist())

    def result(self) -> float:
        return float("nan")


class OwnLoss(Loss):
    """A loss of one's own, on logits, that knows nothing of `bind`."""

    absorbs = "sigmoid"

    def __call__(self, ctx: Any, outputs: Any, labels: Any) -> Any:
        targets = labels[:, None].astype(outputs.dtype)
        return ctx.ops.sigmoid_focal_cross_entropy(outputs, targets)


def network(outputs: int, activation: str | None = None) -> Model:
    model = Model.from_layer(Stack([Flatten(), Dense(outputs, activation=activation)]), SHAPE)
    model.build(device="cpu")
    return model


def task(classes: int, count: int = 50) -> tuple[Any, Any]:
    labels = np.arange(count) % classes
    return Philox(0, "task").normal((count, *SHAPE)) + labels[:, None, None, None], labels


def trained(
    model: Model, loss: Loss, metrics: Any, classes: int, rate: float = 0.1, **options: Any
) -> Trainer:
    loader = Loader(ArrayDataset(*task(classes)), 4, shuffle=True)
    optimizer = SGD(rate)
    trainer = Trainer(
        model, loader, loader, optimizer, optimizer.schedule, loss, 1, metrics=metrics, **options
    )
    list(trainer.run())
    return trainer


# --- metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "activation", "classes", "outputs"),
    [
        *((CategoricalCrossentropy(), end, 3, 3) for end in ("softmax", "sigmoid", None)),
        *((BinaryCrossentropy(), end, 3, 3) for end in ("softmax", "sigmoid", None)),
        *((BinaryCrossentropy(), end, 2, 1) for end in ("sigmoid", None)),
        *((MeanSquaredError(), end, 2, 2) for end in ("softmax", "sigmoid")),
        (MeanSquaredError(), "sigmoid", 2, 1),
        *((OwnLoss(), end, 2, 1) for end in ("sigmoid", None)),
    ],
)
def test_metrics_are_told_probabilities(
    loss: Loss, activation: str | None, classes: int, outputs: int
) -> None:
    """At a learning rate of next to nothing training sees what prediction does."""
    model, keeper = network(outputs, activation), Keeper()
    x, labels = task(classes)
    trained(model, loss, [keeper], classes, rate=1e-30)
    assert len(keeper.labels) == len(labels)  # of the validation, which came last
    if activation is None:
        model.root.layers.append(Activation(loss.absorbs))  # type: ignore[attr-defined]
    p = model.predict(x)
    expected = np.concatenate([1 - p, p], 1) if outputs == 1 else p
    order = Philox(0, "shuffle", 0).permutation(len(x))
    np.testing.assert_allclose(keeper.rows, expected[order], atol=1e-6)
    assert keeper.labels == labels[order].tolist()


def test_training_metrics_are_of_the_steps_outputs() -> None:
    """Those that the network had while it learned, each image once."""
    seen = []

    class Watching(CategoricalCrossentropy):
        def __call__(self, ctx: Any, outputs: Any, labels: Any) -> Any:
            if ctx.training:
                seen.append((np.array(outputs), np.array(labels)))
            return super().__call__(ctx, outputs, labels)

    metrics = [get_metric("accuracy"), get_metric("recall")]
    trainer = trained(network(3, "softmax"), Watching(), metrics, 3)
    outputs, labels = (np.concatenate(column) for column in zip(*seen, strict=True))
    (epoch,) = trainer.history
    predicted = outputs.argmax(1)
    recalls = [(predicted == k)[labels == k].mean() for k in range(3)]
    assert epoch.train_metrics["recall"] == pytest.approx(np.mean(recalls))
    assert epoch.train_metrics["accuracy"] == pytest.approx(epoch.train_accuracy)
    assert epoch.train_metrics != epoch.validation_metrics


def test_logs_have_the_promised_names() -> None:
    trainer = trained(network(3), CategoricalCrossentropy(), [get_metric("f1")], 3)
    (epoch,) = trainer.history
    assert tuple(epoch.logs) == trainer.log_names
    assert trainer.log_names == (
        "loss", "accuracy", "f1", "val_loss", "val_accuracy", "val_f1", "learning_rate",
    )  # fmt: skip
    trainer.validation = None
    assert trainer.log_names == ("loss", "accuracy", "f1", "learning_rate")


def test_undefined_and_large_metrics_are_kept_in_checkpoints(tmp_path: Path) -> None:
    metrics = [Keeper(), get_metric("confusion_matrix")]
    trained(network(3), CategoricalCrossentropy(), metrics, 3, checkpoints=tmp_path)
    (epoch,) = load_checkpoint(tmp_path / "last.cpcnn").training["history"]
    assert epoch["train_metrics"]["keeper"] is None
    assert np.sum(epoch["train_metrics"]["confusion_matrix"]) == 50
    json.dumps(epoch, allow_nan=False)


# --- one output -------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", None])
def test_one_output_tells_two_classes_apart(activation: str | None) -> None:
    model = network(1, activation)
    model.classes = ("dark", "bright")
    assert model.num_classes == 2
    trainer = trained(model, BinaryCrossentropy(), [get_metric("accuracy")], 2)
    (epoch,) = trainer.history
    assert isinstance(epoch, EpochEnded)
    x, labels = task(2)
    p = model.predict(x)
    assert p.shape == (50, 1)
    accuracy = ((p[:, 0] > 0.5) == labels).mean()
    assert accuracy > 0.7
    assert epoch.validation_accuracy == pytest.approx(accuracy)
    assert epoch.validation_metrics["accuracy"] == pytest.approx(accuracy)
    loader = Loader(ArrayDataset(x, labels, ["dark", "bright"]), 8)
    (_, first), *_ = model.predict_batches(loader)
    np.testing.assert_allclose(first, np.concatenate([1 - p[:8], p[:8]], 1), atol=1e-6)
    evaluation = evaluate_model(model, loader)
    assert evaluation.accuracy == pytest.approx(accuracy)
    assert evaluation.loss == pytest.approx(epoch.validation_loss, rel=1e-5)


def test_an_activation_that_is_not_the_loss_es_gives_probabilities() -> None:
    root, loss = network(3, "sigmoid").training_root(CategoricalCrossentropy())
    assert loss.from_logits is False
    assert root.layers[-1].activation == "sigmoid"  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="from_logits"):
        network(3, "softmax").training_root(CategoricalCrossentropy(from_logits=True))
