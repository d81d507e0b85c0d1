"""What input and output of a model mean: checked before it is saved."""

from __future__ import annotations

from typing import Any

from ..core.errors import CheckpointError, UsageError
from ..data.images.preprocess import Preprocessing
from ..training.network import Network


def check_meaning(network: Network) -> None:
    """UsageError unless `classes` and `preprocessing`, where there are any, fit the network."""
    if network.classes is not None:
        _check_classes(network, network.classes)
    if network.preprocessing is not None:
        _check_preprocessing(network, network.preprocessing)


def _check_classes(network: Network, classes: Any) -> None:
    named = isinstance(classes, list | tuple) and all(isinstance(name, str) for name in classes)
    if not named or len(set(classes)) < len(classes) or len(classes) != network.num_classes:
        raise UsageError(
            f"model.classes must be the names of {network.num_classes} classes, "
            f"each another one, not {classes!r:.80}.",
            suggestion="Take those of the training data: tuple(data.class_indices).",
        )


def _check_preprocessing(network: Network, config: Any) -> None:
    suggestion = "Take that of the training data: data.preprocessing."
    if not isinstance(config, dict):
        raise UsageError(
            f"model.preprocessing must be a dictionary, not {config!r:.80}.", suggestion=suggestion
        )
    try:
        found = Preprocessing.from_config(config)
    except CheckpointError as error:
        raise UsageError(f"model: {error.message}", suggestion=suggestion) from None
    shape = found.height, found.width, found.channels
    if shape != network.input_shape:
        raise UsageError(
            f"model.preprocessing makes images of shape {shape}, "
            f"and the model takes {network.input_shape}.",
            suggestion=suggestion,
        )
