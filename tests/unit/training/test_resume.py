"""Resuming: a training that was interrupted ends as one that was not, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpcnn.callbacks import EarlyStopping
from cpcnn.core.errors import CheckpointError, CpcnnError, UsageError
from cpcnn.data import ArrayDataset, Augmentation, Loader
from cpcnn.layers import Dropout
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.metrics import Metric, get_metric
from cpcnn.optimizers import SGD, AdamW, Nadam
from cpcnn.schedules import ReduceOnPlateau, get_schedule
from cpcnn.training import (
    EpochEnded,
    Event,
    StepEnded,
    Trainer,
    TrainingEnded,
    load_checkpoint,
    save_checkpoint,
)
from cpcnn.training.events import StopReason
from cpcnn.training.progress import TrainingProgress

from .conftest import stripes

Make = Callable[..., Trainer]

EPOCHS, STEPS = 3, 5  # 36 images in batches of 8
TIMES = ("seconds", "images_per_second", "data_wait")

# Everything with a state of its own; the network has batch normalisation and dropout.
TRAININGS: dict[str, Callable[[], dict[str, Any]]] = {
    "momentum": dict,
    "all at once": lambda: {
        "optimizer": AdamW(
            0.01, use_ema=True, ema_momentum=0.8, gradient_accumulation_steps=3, global_clipnorm=1
        ),
        "schedule": get_schedule("one-cycle", 0.02, EPOCHS * 2, warmup_steps=2),
        "metrics": [get_metric(name) for name in ("accuracy", "f1", "auc", "confusion_matrix")],
        "class_weights": np.array([1.0, 0.5, 2.0]),
        "train": pictures(augmentation=Augmentation(horizontal_flip=True, shift=0.2, rotation=20)),
    },
    "plateau": lambda: {
        "optimizer": Nadam(0.01, clipvalue=0.1, gradient_accumulation_steps=2),
        "schedule": ReduceOnPlateau(0.01, patience=1, min_delta=10.0),
    },
    "no validation": lambda: {"optimizer": SGD(0.1), "validation": False},
    "strong augmentation": lambda: {
        "optimizer": SGD(0.05, momentum=0.9),
        "loss": CategoricalCrossentropy(label_smoothing=0.1),
        "class_weights": np.array([1.0, 0.5, 2.0]),
        "metrics": [get_metric("f1")],
        "train": pictures(
            augmentation=Augmentation(
                horizontal_flip=True,
                random_crop=0.4,
                contrast=0.3,
                trivial_augment=True,
                erasing=0.5,
                mixup=0.4,
                cutmix=1.0,
            )
        ),
    },
}


def pictures(**options: Any) -> Loader:
    images, labels = stripes(36, "train")
    pixels = np.clip(images * 40 + 100, 0, 255).astype(np.uint8)
    return Loader(ArrayDataset(pixels, labels), 8, shuffle=True, seed=4, **options)


def stop_at(trainer: Trainer, epoch: int, step: int) -> Iterator[Event]:
    """Train, and ask for an end after a step."""
    for event in trainer.run():
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (epoch, step):
            trainer.request_stop()
        yield event


def steps_of(events: Iterable[Event]) -> list[tuple[int, int, float]]:
    """The epoch, number and learning rate of every step."""
    return [(e.epoch, e.step, e.learning_rate) for e in events if isinstance(e, StepEnded)]


def result(trainer: Trainer) -> dict[str, Any]:
    """What a training has come to, without times."""
    optimizer, store = trainer.optimizer, trainer.model.store
    history = [entry.to_json() for entry in trainer.history]
    return {
        "weights": {k: v.tobytes() for k, v in store.get_weights().items()},
        "state": {k: v.tobytes() for k, v in optimizer.get_state(store).items()},
        "step": optimizer.step,
        "history": [{k: v for k, v in entry.items() if k not in TIMES} for entry in history],
        "best": trainer.best and trainer.best.epoch,
    }


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("name", TRAININGS)
def test_a_stop_at_any_step_changes_nothing(
    make_trainer: Make, tmp_path: Path, name: str, device: str
) -> None:
    def make() -> Trainer:
        options = {"epochs": EPOCHS, "checkpoints": tmp_path, "seed": 4, "device": device}
        return make_trainer(**options, **TRAININGS[name]())

    whole = make()
    expected = steps_of(whole.run())
    best = load_checkpoint(tmp_path / "best.cpcnn").weights
    for epoch, step in product(range(1, EPOCHS + 1), range(1, STEPS + 1)):
        before = steps_of(stop_at(make(), epoch, step))
        second = make()
        progress = second.resume_from(tmp_path / "last.cpcnn")
        done = (epoch - 1, step) if step < STEPS else (epoch, 0)
        assert (len(progress.history), progress.batches) == done
        assert before + steps_of(second.run()) == expected
        assert result(second) == result(whole), (epoch, step)
        for path, value in load_checkpoint(tmp_path / "best.cpcnn").weights.items():
            assert np.array_equal(best[path], value)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_many_stops_change_nothing(
    make_trainer: Make, tmp_path_factory: pytest.TempPathFactory, stops: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("run")

    def make() -> Trainer:
        return make_trainer(epochs=EPOCHS, checkpoints=folder, seed=4, **TRAININGS["all at once"]())

    whole = make()
    list(whole.run())
    (folder / "last.cpcnn").unlink()
    for stop in [*stops, EPOCHS * STEPS]:
        trainer = make()
        if (folder / "last.cpcnn").exists():
            trainer.resume_from(folder / "last.cpcnn")
        steps = 0
        for event in trainer.run():
            steps += isinstance(event, StepEnded)
            if steps == stop:
                trainer.request_stop()
    assert result(trainer) == result(whole)


def test_more_epochs_go_on_from_the_end(make_trainer: Make, tmp_path: Path) -> None:
    """With a constant rate, 1 + 2 epochs are 3; that training ended with the average is undone."""

    def make(epochs: int) -> Trainer:
        optimizer = SGD(0.1, momentum=0.9, use_ema=True, ema_momentum=0.9)
        return make_trainer(epochs=epochs, checkpoints=tmp_path, optimizer=optimizer)

    whole = make(3)
    list(whole.run())
    list(make(1).run())
    longer = make(3)
    longer.resume_from(load_checkpoint(tmp_path / "last.cpcnn"))
    list(longer.run())
    found, expected = result(longer), result(whole)
    for entry in found["history"] + expected["history"]:
        del entry["epochs"]
    assert found == expected


def test_a_finished_training_has_nothing_left_to_do(make_trainer: Make, tmp_path: Path) -> None:
    first = make_trainer(checkpoints=tmp_path)
    list(first.run())
    second = make_trainer(checkpoints=tmp_path)
    second.resume_from(tmp_path / "last.cpcnn")
    (_, ended) = second.run()
    assert isinstance(ended, TrainingEnded)
    assert (ended.reason, ended.best_epoch) == ("finished", first.best and first.best.epoch)
    assert result(second) == result(first)


def test_the_rest_of_an_epoch_is_all_that_is_read(make_trainer: Make, tmp_path: Path) -> None:
    """Batches that are done are not made again."""
    list(stop_at(make_trainer(checkpoints=tmp_path), 1, 3))
    trainer = make_trainer(checkpoints=tmp_path)
    trainer.resume_from(tmp_path / "last.cpcnn")
    rows: list[int] = []
    dataset = trainer.train.dataset  # type: ignore[attr-defined]
    gather = dataset.gather
    dataset.gather = lambda index: (rows.append(len(index)), gather(index))[1]
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            break
    assert rows == [8, 4]


def test_workers_take_up_an_epoch_in_the_middle() -> None:
    loader = pictures(workers=3)
    loader.dataset.in_memory = False  # type: ignore[misc]
    ordered = [batch.index.tolist() for batch in loader.epoch(1)]
    for start in range(STEPS + 1):
        assert [batch.index.tolist() for batch in loader.epoch(1, start)] == ordered[start:]


def test_a_loader_of_ones_own_need_not_know_of_resuming(make_trainer: Make, tmp_path: Path) -> None:
    class Plain:
        def __init__(self, loader: Loader) -> None:
            self.loader = loader

        def __len__(self) -> int:
            return len(self.loader)

        def epoch(self, epoch: int) -> Any:
            return self.loader.epoch(epoch)

    list(stop_at(make_trainer(train=Plain(pictures()), checkpoints=tmp_path), 1, STEPS))
    trainer = make_trainer(train=Plain(pictures()))
    trainer.resume_from(tmp_path / "last.cpcnn")
    assert isinstance(list(trainer.run())[-1], TrainingEnded)


# --- metrics and callbacks --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["accuracy", "binary_accuracy", "recall", "auc", "top_k"])
@pytest.mark.parametrize("batches", [0, 1, 3])
def test_a_metric_goes_on_from_its_state(name: str, batches: int) -> None:
    names = {"top_k": "top_k_categorical_accuracy"}
    classes = 2 if name == "binary_accuracy" else 7
    whole, first, second = (get_metric(names.get(name, name)) for _ in range(3))
    rng = np.random.default_rng(0)
    for batch in range(5):
        labels = rng.integers(0, classes, 6)
        probabilities = rng.random((6, classes))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        whole.update(labels, probabilities)
        if batch == batches:
            second.set_state(first.get_state())
        (first if batch < batches else second).update(labels, probabilities)
    assert second.result() == whole.result()


def test_a_metric_without_state_counts_the_rest(make_trainer: Make, tmp_path: Path) -> None:
    class Count(Metric):
        name = "count"

        def reset(self) -> None:
            self.images = 0

        def update(self, labels: Any, probabilities: Any, /) -> None:
            self.images += len(labels)

        def result(self) -> int:
            return self.images

    list(stop_at(make_trainer(checkpoints=tmp_path, metrics=[Count()]), 1, 3))
    trainer = make_trainer(metrics=[Count()])
    trainer.resume_from(tmp_path / "last.cpcnn")
    list(trainer.run())
    assert [entry.train_metrics["count"] for entry in trainer.history] == [12, 36]


def losses(*values: float) -> list[EpochEnded]:
    return [
        EpochEnded(number, 9, 1.0, 0.5, value, 0.5, 0.1, 1.0, 1.0, 0.0, best=False)
        for number, value in enumerate(values, 1)
    ]


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        ((3.0, 2.0), False),
        ((3.0, 2.0, 2.0), True),
        ((3.0, 2.0, 2.0, 2.0), False),  # it was stopped and extended: counting begins anew
        ((3.0, 2.0, 2.0, 2.0, 2.0), True),
        ((), False),
    ],
)
def test_early_stopping_remembers_the_epochs_before(
    make_trainer: Make, values: tuple[float, ...], stops: bool
) -> None:
    """It stops after the next epoch, no better one, where that is the second."""
    stopping, trainer = EarlyStopping(patience=2), make_trainer()
    stopped: list[StopReason] = []
    trainer.request_stop = stopped.append  # type: ignore[assignment, method-assign]
    stopping.attach(trainer)
    stopping.resume(losses(*values))
    stopping(losses(*values, 2.5)[-1])
    assert bool(stopped) is stops


def test_early_stopping_counts_on(make_trainer: Make) -> None:
    stopping = EarlyStopping(patience=2)
    stops: list[StopReason] = []
    trainer = make_trainer()
    trainer.request_stop = stops.append  # type: ignore[assignment, method-assign]
    stopping.attach(trainer)
    stopping.resume(losses(3.0, 2.0, 2.0))
    assert (stopping.best, stopping.best_epoch) == (2.0, 1)
    stopping(losses(0, 0, 0, 2.5)[-1])
    assert stops == ["stopped"]


def test_early_stopping_does_not_promise_weights_it_never_saw(
    make_trainer: Make, tmp_path: Path
) -> None:
    list(make_trainer(epochs=1, checkpoints=tmp_path).run())
    trainer = make_trainer(callbacks=[EarlyStopping(restore_best_weights=True)])
    trainer.resume_from(tmp_path / "last.cpcnn")
    with pytest.raises(UsageError, match="restore_best_weights"):
        list(trainer.run())


# --- what cannot be resumed -------------------------------------------------------------------


@pytest.fixture
def last(make_trainer: Make, tmp_path: Path) -> Path:
    """The checkpoint of a training that was interrupted in its second epoch."""
    list(stop_at(make_trainer(checkpoints=tmp_path, epochs=3), 2, 2))
    return tmp_path / "last.cpcnn"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 1}, "with seed 0, not 1"),
        ({"batch_size": 6}, "5 batches an epoch, this one has 6"),
        ({"epochs": 0}, "of epoch 1, and this training has 0"),
        ({"optimizer": AdamW(0.1)}, "optimizer state .* does not fit"),
    ],
)
def test_a_training_that_is_another_one(
    make_trainer: Make, last: Path, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CpcnnError, match=said):
        make_trainer(**options).resume_from(last)


def test_another_network_of_the_same_weights(make_trainer: Make, last: Path) -> None:
    trainer = make_trainer()
    layers = trainer.model.root.layers
    (place,) = (n for n, layer in enumerate(layers) if isinstance(layer, Dropout))
    layers[place] = Dropout(0.3)
    with pytest.raises(CheckpointError, match="of another network"):
        trainer.resume_from(last)


def test_weights_alone_are_no_training(make_trainer: Make, last: Path) -> None:
    with pytest.raises(CheckpointError, match=r"best\.cpcnn: .*not the state.*last\.cpcnn"):
        make_trainer().resume_from(last.with_name("best.cpcnn"))


def test_metrics_that_were_not_there_before(make_trainer: Make, last: Path) -> None:
    trainer = make_trainer(metrics=[get_metric("recall")])
    trainer.resume_from(last)
    with pytest.raises(CheckpointError, match="interrupted epoch does not fit"):
        list(trainer.run())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(seed="x"),
        lambda t: t.update(step=-1),
        lambda t: t.update(step=10**400),
        lambda t: t.pop("history"),
        lambda t: t.update(history=[1]),
        lambda t: t["history"][0].update(epoch=2),
        lambda t: t["history"][0].update(train_loss=None),
        lambda t: t["history"][0].update(learning_rate=10**400),
        lambda t: t["history"][0].update(train_metrics=[]),
        lambda t: t["history"][0].update(more=1),
        lambda t: t.update(resume=[]),
        lambda t: t["resume"].update(batches=5),
        lambda t: t["resume"].update(waiting=3),
        lambda t: t["resume"].update(schedule=3),
        lambda t: t["resume"].pop("steps_per_epoch"),
    ],
)
def test_a_checkpoint_that_makes_no_sense(
    make_trainer: Make, last: Path, change: Callable[[Any], Any]
) -> None:
    checkpoint = load_checkpoint(last)
    change(checkpoint.training)
    save_checkpoint(last, checkpoint)
    with pytest.raises(CheckpointError, match="makes no sense"):
        make_trainer().resume_from(last)


@pytest.mark.parametrize("change", ["tally/sums", "tally/count", "gradients/dense.kernel"])
def test_sums_that_do_not_fit(make_trainer: Make, tmp_path: Path, change: str) -> None:
    def make() -> Trainer:
        optimizer = SGD(0.1, gradient_accumulation_steps=3)
        return make_trainer(checkpoints=tmp_path, optimizer=optimizer)

    list(stop_at(make(), 1, 2))
    checkpoint = load_checkpoint(tmp_path / "last.cpcnn")
    for unfinished in (
        {k: v for k, v in checkpoint.unfinished.items() if k != change},
        checkpoint.unfinished | {change: np.zeros((2, 3), np.float32)},
    ):
        trainer = make()
        trainer.resume_from(replace(checkpoint, unfinished=unfinished))
        with pytest.raises(CheckpointError, match="interrupted epoch does not fit"):
            list(trainer.run())


@pytest.mark.parametrize(
    ("waiting", "sums"), [(3, {}), (2, {"tally/count": np.zeros(1, np.int64)})]
)
def test_numbers_of_batches_that_cannot_be(
    make_trainer: Make, tmp_path: Path, waiting: int, sums: dict[str, Any]
) -> None:
    def make() -> Trainer:
        optimizer = SGD(0.1, gradient_accumulation_steps=3)
        return make_trainer(checkpoints=tmp_path, optimizer=optimizer)

    list(stop_at(make(), 1, 4))
    checkpoint = load_checkpoint(tmp_path / "last.cpcnn")
    checkpoint.training["resume"].update(waiting=waiting)
    trainer = make()
    trainer.resume_from(replace(checkpoint, unfinished=checkpoint.unfinished | sums))
    with pytest.raises(CheckpointError, match="interrupted epoch does not fit"):
        list(trainer.run())


def test_epochs_that_did_not_measure_what_is_monitored(make_trainer: Make, tmp_path: Path) -> None:
    list(make_trainer(epochs=1, checkpoints=tmp_path).run())
    trainer = make_trainer(metrics=[get_metric("recall")], monitor="val_recall")
    with pytest.raises(UsageError, match="no quantity 'val_recall' to monitor"):
        trainer.resume_from(tmp_path / "last.cpcnn")


def test_layers_frozen_after_building_are_frozen_when_resuming(
    make_trainer: Make, tmp_path: Path
) -> None:
    def make() -> Trainer:
        trainer = make_trainer(optimizer=AdamW(0.01), checkpoints=tmp_path)
        _ = trainer.model.store
        trainer.model.root.layers[0].trainable = False
        return trainer

    whole, parts = make(), make()
    list(whole.run())
    list(stop_at(parts, 2, 2))
    trainer = make()
    trainer.resume_from(tmp_path / "last.cpcnn")
    list(trainer.run())
    assert result(trainer) == result(whole)


def test_a_checkpoint_keeps_what_it_was_given(last: Path, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(last)
    progress = TrainingProgress.from_json(checkpoint.training)
    assert (progress.step, progress.batches, progress.steps_per_epoch) == (7, 2, 5)
    assert progress.to_json() == {k: v for k, v in checkpoint.training.items() if k != "settings"}
    assert json.loads(json.dumps(progress.to_json())) == progress.to_json()
    again = tmp_path / "again.cpcnn"
    save_checkpoint(again, checkpoint)
    assert again.read_bytes() == last.read_bytes()
