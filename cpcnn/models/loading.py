"""Models from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..core.errors import CheckpointError, UsageError
from ..core.param import check_weights
from ..layers import from_config
from ..training.checkpoint import load_checkpoint
from .model import Model

if TYPE_CHECKING:
    from ..devices import Device


def load_model(path: Path | str, device: str | Device = "auto") -> Model:
    """Read what `save` or training wrote; CheckpointError says what is wrong with a file."""
    from ..devices import get_device

    place = get_device(device)
    checkpoint = load_checkpoint(path)
    config = checkpoint.model_config
    shape = config.get("input_shape")
    if not (isinstance(shape, list) and all(isinstance(s, int) and s > 0 for s in shape)):
        raise CheckpointError(f"{path} is damaged: it has no input shape.")
    root = from_config(config.get("root"))
    try:
        model = Model.from_layer(root, tuple(shape))
    except (
        UsageError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        # not every option of every layer is checked before it is used
        raise CheckpointError(f"{path} is damaged: {error}") from None
    # before anything is allocated: a file may claim any size
    check_weights(root.parameters(), checkpoint.weights)
    try:
        model.build(device=place)
    except UsageError as error:  # an initializer that cannot make its parameter's shape
        raise CheckpointError(f"{path} is damaged: {error}") from None
    model.store.set_weights(checkpoint.weights)
    model.classes = checkpoint.classes
    model.preprocessing = checkpoint.preprocessing
    return model
