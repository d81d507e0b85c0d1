"""The training loop: its events, what it keeps, and how it stops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import DataError, DivergedError, ShapeError, UsageError
from cpcnn.data import ArrayDataset, Augmentation, ImageDataset, Loader, Preprocessing
from cpcnn.data.layouts.folder import scan_folder
from cpcnn.data.samples import write_sample_images
from cpcnn.devices import get_device
from cpcnn.layers import Lambda
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.metrics import get_metric
from cpcnn.models import Model, load_model
from cpcnn.networks import build_network
from cpcnn.optimizers import SGD, AdamW
from cpcnn.schedules import get_schedule
from cpcnn.training import (
    CheckpointSaved,
    EpochEnded,
    Event,
    StepEnded,
    Trainer,
    TrainingEnded,
    TrainingStarted,
    load_checkpoint,
)

Make = Callable[..., Trainer]


def kinds(events: list[Event]) -> list[str]:
    return [
        f"saved {event.kind}" if isinstance(event, CheckpointSaved) else type(event).__name__
        for event in events
    ]


def scripted(results: list[tuple[float, float]]) -> Callable[[Trainer], Any]:
    """Stand in for validation: (accuracy, loss) of each epoch."""
    rest = iter(results)

    def validate(trainer: Trainer) -> Any:
        accuracy, loss = next(rest)
        return SimpleNamespace(accuracy=accuracy, loss=loss, results=dict)

    return validate


# --- events -----------------------------------------------------------------------------------


def test_events_come_in_order(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(checkpoints=tmp_path, batch_size=15)
    events = list(trainer.run())
    names = kinds(events)
    assert names[0] == "TrainingStarted"
    assert names[1:6] == ["StepEnded"] * 3 + ["EpochEnded", "saved best"]
    assert names[6] == "saved last"
    assert names[-1] == "TrainingEnded"
    started = events[0]
    assert isinstance(started, TrainingStarted)
    assert (started.device, started.steps_per_epoch, started.epochs) == ("numpy", 3, 2)
    assert started.parameters == 4 * 9 + 2 * 4 + 36 * 3 + 3
    steps = [event for event in events if isinstance(event, StepEnded)]
    assert [(s.epoch, s.step, s.steps, s.images) for s in steps] == [
        (1, 1, 3, 15), (1, 2, 3, 15), (1, 3, 3, 6), (2, 1, 3, 15), (2, 2, 3, 15), (2, 3, 3, 6),
    ]  # fmt: skip
    for step in steps:
        assert step.learning_rate == 0.1
        assert step.images_per_second > 0
        assert 0 <= step.data_wait <= 1
    epochs = [event for event in events if isinstance(event, EpochEnded)]
    assert epochs == trainer.history
    assert [(e.epoch, e.epochs) for e in epochs] == [(1, 2), (2, 2)]
    assert epochs[0].train_loss == steps[2].loss
    assert epochs[0].train_accuracy == steps[2].accuracy
    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert ended.reason == "finished"
    assert ended.seconds > 0


def test_the_task_is_learned(make_trainer: Make) -> None:
    *_, ended = make_trainer(epochs=15).run()
    assert isinstance(ended, TrainingEnded)
    assert ended.best_accuracy is not None
    assert ended.best_accuracy > 0.75  # a third is chance


def test_loss_and_accuracy_are_means_over_images(make_trainer: Make) -> None:
    """Batches of 8, 8, 8, 8, 4 images: the last one counts half."""
    losses, hits = [], []

    class Watching(CategoricalCrossentropy):
        def __call__(self, ctx: Any, outputs: Any, labels: Any) -> Any:
            result = super().__call__(ctx, outputs, labels)
            losses.extend(result[0].tolist())
            hits.extend((outputs.argmax(1) == labels).tolist())
            return result

    trainer = make_trainer(validation=False, epochs=1, loss=Watching())
    last = [event for event in trainer.run() if isinstance(event, EpochEnded)][-1]
    assert len(losses) == 36
    assert last.train_loss == pytest.approx(np.mean(losses), rel=1e-6)
    assert last.train_accuracy == np.mean(hits)
    assert (last.validation_loss, last.validation_accuracy) == (None, None)


def test_validation_is_evaluation(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=1, metrics=[get_metric("accuracy"), get_metric("recall")])
    last = [event for event in trainer.run() if isinstance(event, EpochEnded)][-1]
    assert isinstance(trainer.model, Model)
    trainer.model.compile(metrics=["accuracy", "recall"])
    scores = trainer.model.evaluate(trainer.validation, verbose=0, return_dict=True)
    assert last.validation_loss == pytest.approx(scores.pop("loss"), rel=1e-6)
    assert last.validation_metrics == scores
    assert last.validation_accuracy == pytest.approx(scores["accuracy"])


def test_the_schedule_counts_steps_over_all_epochs(make_trainer: Make) -> None:
    schedule = get_schedule("cosine", 0.1, 10, warmup_steps=3)
    events = list(make_trainer(schedule=schedule).run())
    rates = [event.learning_rate for event in events if isinstance(event, StepEnded)]
    assert rates == [schedule(step) for step in range(10)]


def test_a_schedule_may_count_in_numpy(make_trainer: Make) -> None:
    trainer = make_trainer(schedule=lambda step: np.float64(0.5))
    rates = {type(e.learning_rate) for e in trainer.run() if isinstance(e, StepEnded)}
    assert rates == {float}  # float64 of NumPy would make the updates of float32 weights float64


def test_an_empty_validation_set_is_none(make_trainer: Make) -> None:
    empty = Loader(ArrayDataset(np.zeros((0, 6, 6, 1)), np.zeros(0, int)), 8)
    trainer = make_trainer(epochs=1)
    trainer.validation = empty
    assert [e.validation_loss for e in trainer.run() if isinstance(e, EpochEnded)] == [None]


def test_without_images_there_is_nothing_to_train(make_trainer: Make) -> None:
    trainer = make_trainer(train=Loader(ArrayDataset(np.zeros((0, 6, 6, 1)), np.zeros(0, int)), 8))
    with pytest.raises(DataError, match="no training images"):
        list(trainer.run())


def test_a_model_that_cannot_be_saved_is_not_trained(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(checkpoints=tmp_path)
    trainer.model.root.layers.insert(0, Lambda(lambda xp, x: x, lambda xp, dy, saved: dy))
    with pytest.raises(UsageError, match="cannot be saved"):
        next(iter(trainer.run()))
    trainer.checkpoints = None
    next(iter(trainer.run()))


def test_images_of_another_shape(make_trainer: Make) -> None:
    trainer = make_trainer(train=Loader(ArrayDataset(np.zeros((4, 6, 7, 1)), np.zeros(4, int)), 2))
    with pytest.raises(ShapeError, match=r"\(6, 6, 1\).*\(6, 7, 1\)"):
        list(trainer.run())


# --- best and last ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("results", "best"),
    [
        ([(0.5, 1.0), (0.7, 1.0), (0.6, 0.1)], [True, True, False]),
        ([(0.5, 1.0), (0.5, 0.9), (0.5, 0.9)], [True, True, False]),
        ([(0.5, 1.0), (0.4, 0.1), (0.5, 1.1)], [True, False, False]),
        ([(0.0, 9.0), (0.0, 8.0), (0.1, 99.0)], [True, True, True]),
    ],
)
def test_the_best_epoch(
    make_trainer: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    results: Any,
    best: list[bool],
) -> None:
    monkeypatch.setattr(Trainer, "_validate", scripted(results))
    trainer = make_trainer(checkpoints=tmp_path, epochs=3)
    weights = []
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            assert event.best == best[event.epoch - 1]
            weights.append(trainer.model.store.get_weights())
    number = max(k for k, good in enumerate(best) if good)
    assert isinstance(event, TrainingEnded)
    assert (event.best_epoch, event.best_accuracy) == (number + 1, results[number][0])
    for name, index in (("best", number), ("last", 2)):
        checkpoint = load_checkpoint(tmp_path / f"{name}.cpcnn")
        assert checkpoint.training["epoch"] == index + 1
        for path, value in checkpoint.weights.items():
            assert np.array_equal(value, weights[index][path])


def test_without_validation_the_last_epoch_is_the_best(make_trainer: Make, tmp_path: Path) -> None:
    events = list(make_trainer(validation=False, checkpoints=tmp_path).run())
    assert kinds(events).count("saved best") == 2
    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert (ended.best_epoch, ended.best_accuracy) == (2, None)


def test_who_hears_of_an_epoch_finds_it_on_disk(make_trainer: Make, tmp_path: Path) -> None:
    for event in make_trainer(checkpoints=tmp_path).run():
        if isinstance(event, EpochEnded):
            training = load_checkpoint(tmp_path / "last.cpcnn").training
            assert training["epoch"] == event.epoch
            assert len(training["history"]) == event.epoch
        if isinstance(event, CheckpointSaved):
            assert event.path == tmp_path / f"{event.kind}.cpcnn"
            assert event.path.is_file()


def test_a_checkpoint_holds_all_that_training_knows(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(checkpoints=tmp_path, settings={"model": "small"}, seed=5)
    list(trainer.run())
    last, best = (load_checkpoint(tmp_path / f"{name}.cpcnn") for name in ("last", "best"))
    assert last.classes == ("row", "column", "neither")
    assert last.training["settings"] == {"model": "small"}
    assert last.training["seed"] == 5
    assert last.training["step"] == 10
    assert last.training["history"][1]["train_loss"] == trainer.history[1].train_loss
    assert set(last.optimizer_state) == {
        f"velocity/{path}" for path, p in trainer.model.store.params.items() if p.trainable
    }
    assert best.optimizer_state == {}
    x = np.ones((2, 6, 6, 1), np.float32)
    assert isinstance(trainer.model, Model)
    again = load_model(tmp_path / "last.cpcnn", device="numpy")
    assert np.array_equal(again.predict(x), trainer.model.predict(x))


# --- stopping ---------------------------------------------------------------------------------


def test_a_stop_finishes_the_step_and_saves(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(checkpoints=tmp_path, epochs=3)
    events = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (2, 2):
            trainer.request_stop()
    assert kinds(events)[-3:] == ["StepEnded", "saved last", "TrainingEnded"]
    ended = events[-1]
    assert isinstance(ended, TrainingEnded)
    assert (ended.reason, ended.best_epoch) == ("interrupted", trainer.best and trainer.best.epoch)
    checkpoint = load_checkpoint(tmp_path / "last.cpcnn")
    assert (checkpoint.training["epoch"], checkpoint.training["step"]) == (1, 7)
    for path, value in trainer.model.store.get_weights().items():
        assert np.array_equal(checkpoint.weights[path], value)


def test_a_stop_in_the_last_step_of_an_epoch_finishes_the_epoch(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=3)
    events = []
    for event in trainer.run():
        events.append(event)
        if isinstance(event, StepEnded) and event.step == event.steps:
            trainer.request_stop()
    assert kinds(events)[-2:] == ["EpochEnded", "TrainingEnded"]
    assert events[-1].reason == "interrupted"  # type: ignore[union-attr]


def test_a_stop_after_all_work_is_no_interruption(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=1)
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            trainer.request_stop()
    assert isinstance(event, TrainingEnded)
    assert event.reason == "finished"


def test_a_stop_with_a_reason(make_trainer: Make) -> None:
    trainer = make_trainer(epochs=3)
    for event in trainer.run():
        if isinstance(event, EpochEnded):
            trainer.request_stop("stopped")
    assert isinstance(event, TrainingEnded)
    assert event.reason == "stopped"
    assert len(trainer.history) == 1


def test_a_stop_before_the_start_does_one_step(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.request_stop()
    names = kinds(list(trainer.run()))
    assert names == ["TrainingStarted", "StepEnded", "TrainingEnded"]


def test_who_stops_listening_stops_the_training(make_trainer: Make) -> None:
    trainer = make_trainer()
    run = trainer.run()
    next(run)
    next(run)
    run.close()  # type: ignore[attr-defined]
    assert trainer.optimizer.step == 1


# --- divergence -------------------------------------------------------------------------------


class Spoiled:
    """A loader whose images are no numbers from some epoch on."""

    def __init__(self, loader: Any, epoch: int) -> None:
        self.loader, self.first = loader, epoch

    def __len__(self) -> int:
        return len(self.loader)

    def epoch(self, epoch: int) -> Iterator[Any]:
        for batch in self.loader.epoch(epoch):
            if epoch >= self.first:
                batch.images[...] = np.nan
            yield batch


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_loss_that_is_no_number(make_trainer: Make, tmp_path: Path, device: str) -> None:
    trainer = make_trainer(device=device, checkpoints=tmp_path, epochs=3)
    trainer.train = Spoiled(trainer.train, 1)
    with pytest.raises(DivergedError, match=r"epoch 2, step 1, .*rate 0\.1.* epoch 1 are kept"):
        list(trainer.run())
    for name in ("best", "last"):
        checkpoint = load_checkpoint(tmp_path / f"{name}.cpcnn")
        assert checkpoint.training["epoch"] == 1
        assert all(np.isfinite(value).all() for value in checkpoint.weights.values())


def test_divergence_before_any_epoch_is_complete(make_trainer: Make) -> None:
    trainer = make_trainer()
    trainer.train = Spoiled(trainer.train, 0)
    with pytest.raises(DivergedError, match=r"epoch 1, step 1, .* No epoch was completed"):
        list(trainer.run())


@pytest.mark.parametrize("validation", [True, False])
def test_a_last_step_that_ruins_the_weights(
    make_trainer: Make, tmp_path: Path, validation: bool
) -> None:
    """The loss of the step was fine; what it left behind must not replace good checkpoints."""
    trainer = make_trainer(
        checkpoints=tmp_path,
        validation=validation,
        schedule=lambda step: math.inf if step == 9 else 0.1,
    )
    with pytest.raises(DivergedError, match=r"epoch 2.* epoch 1 are kept"):
        list(trainer.run())
    checkpoint = load_checkpoint(tmp_path / "last.cpcnn")
    assert checkpoint.training["epoch"] == 1
    assert all(np.isfinite(value).all() for value in checkpoint.weights.values())


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_clipping_keeps_weights_but_not_from_the_verdict(make_trainer: Make, device: str) -> None:
    """A gradient that is no number moves no weight; the loss still ends the run."""
    optimizer = SGD(0.1, momentum=0.9, global_clipnorm=1.0)
    trainer = make_trainer(device=device, optimizer=optimizer)
    trainer.train = Spoiled(trainer.train, 1)
    run = trainer.run()
    for event in run:
        if isinstance(event, EpochEnded):
            break
    weights = trainer.model.store.get_weights()
    with pytest.raises(DivergedError, match="epoch 2, step 1"):
        next(run)
    for path, param in trainer.model.store.params.items():
        if param.trainable:
            assert np.array_equal(trainer.model.store.get_weights()[path], weights[path])


@pytest.mark.parametrize("device", ["numpy", "cpu"])
@pytest.mark.parametrize("number", [0, -1])
def test_one_weight_that_is_not_finite_is_one_too_many(
    make_trainer: Make, device: str, number: int
) -> None:
    class Spoils(SGD):
        def update(self, ctx: Any, store: Any, learning_rate: float, batches: int = 1) -> None:
            super().update(ctx, store, learning_rate, batches)
            if self.step == 5:  # the last of the epoch
                list(store.params.values())[number].value[-1] = np.inf

    trainer = make_trainer(device=device, validation=False, optimizer=Spoils(0.1))
    with pytest.raises(DivergedError, match="after epoch 1 there are weights"):
        list(trainer.run())


def test_an_interruption_does_not_save_ruins(make_trainer: Make, tmp_path: Path) -> None:
    trainer = make_trainer(
        checkpoints=tmp_path, schedule=lambda step: math.inf if step == 6 else 0.1
    )
    run = trainer.run()
    for event in run:
        if isinstance(event, StepEnded) and (event.epoch, event.step) == (2, 2):
            break
    trainer.request_stop()
    with pytest.raises(DivergedError):
        next(run)
    assert load_checkpoint(tmp_path / "last.cpcnn").training["epoch"] == 1


# --- repeatability ----------------------------------------------------------------------------


def final_bytes(trainer: Trainer) -> bytes:
    list(trainer.run())
    return b"".join(value.tobytes() for value in trainer.model.store.get_weights().values())


@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_the_same_seed_gives_the_same_bits(make_trainer: Make, device: str) -> None:
    runs = {seed: final_bytes(make_trainer(device=device, seed=seed)) for seed in (1, 2)}
    assert final_bytes(make_trainer(device=device, seed=1)) == runs[1]
    assert runs[1] != runs[2]


@pytest.fixture(scope="module")
def picture_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures") / "shapes"
    write_sample_images(root, per_class=7, size=20, splits=(("train", 1.0), ("val", 0.5)))
    return root


def train_on_pictures(
    root: Path, *, workers: int, threads: int = 2, memory_limit: int | None = None, seed: int = 0
) -> bytes:
    folder = scan_folder(root)
    loaders = []
    for split in ("train", "validation"):
        dataset = ImageDataset(
            folder.splits[split], folder.classes, Preprocessing(16, 16), memory_limit=memory_limit
        )
        dataset.prepare(workers=max(workers, 1))
        assert dataset.in_memory is (memory_limit is None)
        augmentation = Augmentation(horizontal_flip=True, rotation=10, shift=0.1)
        loaders.append(
            Loader(
                dataset,
                6,
                shuffle=split == "train",
                seed=seed,
                augmentation=augmentation if split == "train" else None,
                workers=workers,
            )
        )
    network = build_network("resnet9", (16, 16, 3), len(folder.classes), width=0.07)
    model = Model.from_layer(network, (16, 16, 3))
    model.build(seed=seed, device=get_device("cpu", threads=threads))
    model.preprocessing = Preprocessing(16, 16).to_config()
    schedule = get_schedule("cosine", 0.01, 2 * len(loaders[0]))
    loss = CategoricalCrossentropy(label_smoothing=0.1)
    trainer = Trainer(model, *loaders, AdamW(), schedule, loss, epochs=2, seed=seed)
    return final_bytes(trainer)


def test_neither_workers_nor_threads_nor_memory_change_a_bit(picture_folder: Path) -> None:
    first = train_on_pictures(picture_folder, workers=1, memory_limit=0)
    assert train_on_pictures(picture_folder, workers=4, memory_limit=0) == first
    assert train_on_pictures(picture_folder, workers=0, threads=1) == first
    assert train_on_pictures(picture_folder, workers=4, memory_limit=0, seed=1) != first
