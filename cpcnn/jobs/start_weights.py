"""What training starts from: the weights of a checkpoint, and layers that stay as they are."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from ..core.errors import CheckpointError, UsageError
from ..layers import Layer
from ..training.checkpoint import Checkpoint, load_checkpoint
from ..training.network import Network
from .model_source import find_model

NAMES_SHOWN = 6


def take_weights(network: Network, path: Path) -> str:
    """Start from the weights of a checkpoint or run, and return what was taken, in a sentence.

    Taken is every parameter whose path and shape agree; the last layer stays fresh when the
    checkpoint's classes are others. CheckpointError when nothing fits.
    """
    source = find_model(path).checkpoint
    checkpoint = load_checkpoint(source)
    weights = network.store.get_weights()
    taken = {
        name: array
        for name, array in checkpoint.weights.items()
        if name in weights and array.shape == weights[name].shape and array.dtype.kind in "fiu"
    }
    for name in _head(network) if _other_classes(network, checkpoint) else ():
        taken.pop(name, None)
    if not taken:
        raise CheckpointError(
            f"No weight of {source} fits the network.",
            suggestion="Take the --model and --width that it was trained with.",
        )
    network.store.set_weights(weights | taken)
    fresh = [name for name in weights if name not in taken]
    note = f"Weights of {source}: {len(taken)} of {len(weights)} arrays taken"
    return f"{note}; fresh are {_listed(fresh)}." if fresh else f"{note}."


def _other_classes(network: Network, checkpoint: Checkpoint) -> bool:
    return checkpoint.classes != network.classes


def _head(network: Network) -> list[str]:
    """Return the paths of the parameters of the last layer that has any."""
    for path, layer in reversed(list(network.root.walk())):
        if layer.params():
            return [f"{path}.{name}" for name in layer.params()]
    return []


def freeze_layers(root: Layer, patterns: Sequence[str]) -> None:
    """Freeze the layers whose paths match one of the patterns, and all inside them.

    UsageError names a pattern that matches nothing, and the layers at the top.
    """
    layers = {path: layer for path, layer in root.walk() if path}
    for pattern in patterns:
        matched = [layer for path, layer in layers.items() if fnmatchcase(path, pattern)]
        if not matched:
            raise UsageError(
                f"--freeze {pattern!r} matches no layer.",
                suggestion=f"The layers are {', '.join(root.children())}; "
                "`*` stands for anything, `stage1.*` for what is inside one.",
            )
        for layer in matched:
            layer.trainable = False


def frozen_notes(network: Network, *, random: bool) -> list[str]:
    """Say how many parameters are frozen, if any, and if they are `random`.

    UsageError when nothing is left to train.
    """
    store = network.store
    frozen = sum(param.size for param in store.params.values() if param.frozen)
    if not store.num_trainable:
        raise UsageError(
            "--freeze leaves nothing to train.", suggestion="Leave at least the last layer free."
        )
    if not frozen:
        return []
    remark = ", random without --weights" if random else ""
    return [f"Frozen: {frozen:,} of {store.num_parameters:,} parameters{remark}."]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
