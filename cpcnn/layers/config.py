"""Layers to plain data and back: what a checkpoint stores of an architecture.

A layer is {"type": class name, "config": {field: value, …}}, an initializer object inside it
{"initializer": class name, "config": …}. Fields with their default value are left out.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from ..core.errors import CheckpointError, CpcnnError, UsageError
from .base import Container, Layer
from .initializers import INITIALIZERS, Initializer

L = TypeVar("L", bound=type[Layer])
M = TypeVar("M", Layer, Initializer)
REGISTRY: dict[str, type[Layer]] = {}
SHARED = "Shared"  # stands for a layer that was described before
MAXIMUM_DEPTH = 64  # deeper nesting than any network has; a hostile file must not exhaust the stack


def register_layer(layer: L) -> L:
    """Make a layer class known to checkpoints under its class name (a class decorator)."""
    known = REGISTRY.setdefault(layer.__name__, layer)
    if known is not layer or layer.__name__ == SHARED:
        raise UsageError(f"a layer class named {layer.__name__!r} is registered already.")
    return layer


def to_config(layer: Layer) -> dict[str, Any]:
    """Describe a layer, and all inside it, in JSON types: {"type": ..., "config": {...}}.

    A layer that stands at several places is described once; the others refer to its number.
    """
    return _describe(layer, {})


def from_config(config: Any) -> Layer:
    """Make the layer that `to_config` described; CheckpointError for anything else."""
    return _restore(config, [], 0)


def _describe(layer: Layer, numbers: dict[int, int]) -> dict[str, Any]:
    if id(layer) in numbers:
        return {"type": SHARED, "config": {"number": numbers[id(layer)]}}
    config = _changed_fields(layer, numbers)
    for name, value in config.items():
        if callable(value):
            raise UsageError(
                f"layer {layer.path or layer.name or type(layer).__name__!r} cannot be saved: "
                f"its {name} is a function.",
                suggestion="Functions are saved by name: see cpcnn.layers.register_functions.",
            )
    numbers[id(layer)] = len(numbers)  # after the layers inside it, as they are restored
    return {"type": type(layer).__name__, "config": config}


def _changed_fields(value: Layer | Initializer, numbers: dict[int, int]) -> dict[str, Any]:
    return {
        item.name: _encode(getattr(value, item.name), numbers)
        for item in fields(value)
        if item.init and getattr(value, item.name) != item.default
    }


def _encode(value: Any, numbers: dict[int, int]) -> Any:
    if isinstance(value, Layer):
        return _describe(value, numbers)
    if isinstance(value, Initializer):
        kind = type(value).__name__
        return {"initializer": kind, "config": _changed_fields(value, numbers)}
    if isinstance(value, (list, tuple)):
        return [_encode(item, numbers) for item in value]
    return value


def _restore(config: Any, made: list[Layer], depth: int) -> Layer:
    if depth > MAXIMUM_DEPTH or not isinstance(config, dict) or set(config) != {"type", "config"}:
        raise CheckpointError("the file's description of the network cannot be read.")
    kind, options = config["type"], config["config"]
    if not isinstance(options, dict):
        raise CheckpointError("the file's description of the network cannot be read.")
    if kind == SHARED:
        return _made_before(options.get("number"), made)
    layer = REGISTRY.get(kind) if isinstance(kind, str) else None
    if layer is None:
        raise CheckpointError(
            f"the model uses a layer type {kind!r} that is not known here.",
            suggestion="Import the module that registers it, or update cpcnn.",
        )
    values = {name: _decode(value, made, depth + 1) for name, value in options.items()}
    made.append(_make(layer, values, f"{kind} layer"))
    return made[-1]


def _make(kind: type[M], values: dict[str, Any], what: str) -> M:
    try:
        made = kind(**values)
        if isinstance(made, Container):
            made.find_trainable()
        return made
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the file's {what} has a bad configuration: {error}") from None
    except CpcnnError as error:
        raise CheckpointError(
            f"the file's {what} has a bad configuration: {error.message}"
        ) from None


def _made_before(number: Any, made: list[Layer]) -> Layer:
    if type(number) is not int or number not in range(len(made)):
        raise CheckpointError("the file's description of the network refers to a missing layer.")
    return made[number]


def _decode(value: Any, made: list[Layer], depth: int) -> Any:
    if isinstance(value, dict):
        if set(value) == {"initializer", "config"}:
            return _restore_initializer(value["initializer"], value["config"], depth)
        return _restore(value, made, depth)
    if isinstance(value, list):
        if depth > MAXIMUM_DEPTH:
            raise CheckpointError("the file's description of the network is nested too deeply.")
        return tuple(_decode(item, made, depth + 1) for item in value)
    return value


def _restore_initializer(kind: Any, options: Any, depth: int) -> Initializer:
    known = INITIALIZERS.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise CheckpointError(
            f"the model uses an initializer {kind!r} that is not known here.",
            suggestion="Import the module that registers it, or update cpcnn.",
        )
    if depth > MAXIMUM_DEPTH or not isinstance(options, dict):
        raise CheckpointError("the file's description of the network cannot be read.")
    values = {name: _decode(value, [], depth + 1) for name, value in options.items()}
    return _make(known, values, f"{kind} initializer")
