"""The network and the trainer that settings describe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..data.augmentation.augment import Augmentation
from ..data.loader import Loader
from ..data.splits.sampler import BalancedSampler
from ..devices import Device
from ..losses import CategoricalFocalCrossentropy, Loss, SparseCategoricalCrossentropy
from ..metrics import F1Score, Metric, Recall
from ..networks import build_network
from ..optimizers import Optimizer, get_optimizer
from ..schedules import Schedule, get_schedule
from ..training.network import Network
from ..training.trainer import Trainer
from .augment_presets import augmentation_keywords
from .class_weights import class_weights
from .patience import Patience
from .read_images import ReadImages
from .settings import BALANCED, FOCAL, FOCAL_GAMMA, SGD_MOMENTUM, TrainSettings, option
from .start_weights import freeze_layers

# Of each choice of --monitor: the name in an epoch's logs, and the metric that gives it.
MONITORED: dict[str, tuple[str, Callable[[], list[Metric]]]] = {
    "accuracy": ("val_accuracy", list),
    "loss": ("val_loss", list),
    "macro-f1": ("val_macro_f1", lambda: [F1Score(name="macro_f1")]),
    "macro-recall": ("val_macro_recall", lambda: [Recall(name="macro_recall")]),
}


def build_trainer(
    settings: TrainSettings, images: ReadImages, device: Device, checkpoints: Path
) -> Trainer:
    """Return what trains as the settings say, on images that were read, with fresh weights."""
    train = Loader(
        images.train,
        settings.batch_size_for(len(images.train)),
        shuffle=True,
        seed=settings.seed,
        augmentation=Augmentation(**augmentation_keywords(settings.augment, settings)),
        workers=settings.workers,
        sampler=BalancedSampler(images.train.labels) if settings.sampler == BALANCED else None,
    )
    validation = None
    if images.validation is not None:
        validation = Loader(images.validation, train.batch_size, workers=settings.workers)
    else:
        _refuse_monitoring(settings)
    rate = settings.lr_for(train.batch_size)
    monitor, metrics = MONITORED[settings.monitor]
    counts = np.bincount(images.train.labels, minlength=len(images.train.classes))
    return Trainer(
        model=_build_network(settings, images, device),
        train=train,
        validation=validation,
        optimizer=_optimizer(settings, rate),
        schedule=_schedule(settings, rate, len(train)),
        loss=_loss(settings),
        epochs=settings.epochs,
        seed=settings.seed,
        checkpoints=checkpoints,
        settings=settings.to_config(),
        metrics=fold_metrics() if settings.folds is not None else metrics(),
        monitor=monitor,
        callbacks=[] if settings.patience is None else [Patience(settings.patience)],
        class_weights=class_weights(settings.class_weights, images.train.classes, counts.tolist()),
    )


def fold_metrics() -> list[Metric]:
    """Return what cross-validation reports beside the accuracy."""
    return [F1Score(name="macro_f1"), Recall(name="macro_recall")]


def _loss(settings: TrainSettings) -> Loss:
    if settings.loss != FOCAL:
        return SparseCategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    gamma = FOCAL_GAMMA if settings.focal_gamma is None else settings.focal_gamma
    # All classes count the same, so that a gamma of 0 is cross-entropy; --class-weights change it.
    return CategoricalFocalCrossentropy(
        alpha=1.0, gamma=gamma, label_smoothing=settings.label_smoothing
    )


def updates_per_epoch(settings: TrainSettings, batches: int) -> int:
    """Return the number of updates that so many batches make."""
    return -(-batches // settings.accumulate)


def _refuse_monitoring(settings: TrainSettings) -> None:
    """Raise DataError when something is to be watched that needs images to validate on."""
    defaults = TrainSettings(settings.data)
    for name in ("patience", "monitor"):
        if getattr(settings, name) != getattr(defaults, name):
            raise DataError(
                f"{option(name)} needs images to validate on, and there are none: "
                "the classes have too few.",
                suggestion=f"Add images, or leave {option(name)} out.",
            )


def _optimizer(settings: TrainSettings, rate: float) -> Optimizer:
    momentum = settings.momentum
    if momentum is None and settings.optimizer == "sgd":
        momentum = SGD_MOMENTUM
    return get_optimizer(
        settings.optimizer,
        learning_rate=rate,
        weight_decay=settings.weight_decay,
        global_clipnorm=settings.clip_norm,
        gradient_accumulation_steps=settings.accumulate,
        **({} if momentum is None else {"momentum": momentum}),
        **({} if settings.ema is None else {"use_ema": True, "ema_momentum": settings.ema}),
    )


def _schedule(settings: TrainSettings, rate: float, batches: int) -> Schedule:
    updates = updates_per_epoch(settings, batches)
    return get_schedule(
        settings.schedule,
        rate,
        settings.epochs * updates,
        warmup_steps=round(settings.warmup_epochs * updates),
    )


def _build_network(settings: TrainSettings, images: ReadImages, device: Device) -> Network:
    preprocessing = images.preprocessing
    shape = (preprocessing.height, preprocessing.width, preprocessing.channels)
    classes = images.train.classes
    network = Network(build_network(settings.model, shape, len(classes), width=settings.width))
    freeze_layers(network.root, settings.freeze)
    network.classes = classes
    network.preprocessing = preprocessing.to_config()
    network.build(shape, seed=settings.seed, device=device)
    return network
