"""Layers to plain data and back: what a checkpoint stores of an architecture."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from ..core.errors import CheckpointError, CpcnnError, UsageError
from .base import Layer

L = TypeVar("L", bound=type[Layer])
REGISTRY: dict[str, type[Layer]] = {}
MAXIMUM_DEPTH = 64  # deeper nesting than any network has; a hostile file must not exhaust the stack


def register_layer(layer: L) -> L:
    """Make a layer class known to checkpoints under its class name (a class decorator)."""
    known = REGISTRY.setdefault(layer.__name__, layer)
    if known is not layer:
        raise UsageError(f"a layer class named {layer.__name__!r} is registered already.")
    return layer


def to_config(layer: Layer) -> dict[str, Any]:
    """Describe a layer, and all inside it, in JSON types: {"type": ..., "config": {...}}."""
    config = {
        item.name: _encode(getattr(layer, item.name))
        for item in fields(layer)
        if item.init and getattr(layer, item.name) != item.default
    }
    return {"type": type(layer).__name__, "config": config}


def from_config(config: Any, depth: int = 0) -> Layer:
    """Make the layer that `to_config` described; CheckpointError for anything else."""
    if depth > MAXIMUM_DEPTH or not isinstance(config, dict) or set(config) != {"type", "config"}:
        raise CheckpointError("the file's description of the network cannot be read.")
    kind, options = config["type"], config["config"]
    layer = REGISTRY.get(kind) if isinstance(kind, str) else None
    if layer is None:
        raise CheckpointError(
            f"the model uses a layer type {kind!r} that is not known here.",
            suggestion="Import the module that registers it, or update cpcnn.",
        )
    try:
        return layer(**{name: _decode(value, depth) for name, value in options.items()})
    except (TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"the file's {kind} layer has a bad configuration: {error}") from None
    except CpcnnError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(
            f"the file's {kind} layer has a bad configuration: {error.message}"
        ) from None


def _encode(value: Any) -> Any:
    if isinstance(value, Layer):
        return to_config(value)
    if isinstance(value, (list, tuple)):
        return [_encode(item) for item in value]
    return value


def _decode(value: Any, depth: int) -> Any:
    if isinstance(value, dict):
        return from_config(value, depth + 1)
    if isinstance(value, list):
        return tuple(_decode(item, depth) for item in value)
    return value
