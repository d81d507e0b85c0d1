"""What a model is made of and what it takes: a run, a checkpoint, or a ready network by name."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..core.errors import CheckpointError, UsageError
from ..data.memory import available_memory
from ..devices import Device, get_device
from ..layers.summary import LayerRow, layer_rows, trace_shapes
from ..models import load_model
from ..networks import NETWORKS, build_network
from ..optimizers import get_optimizer
from ..training.memory import ITEM_SIZE, Footprint, measure_footprint
from ..training.network import Network
from .model_source import ModelSource, find_model
from .settings import (
    BATCH_SIZE,
    LARGEST_SIDE,
    SMALLEST_SIDE,
    TrainSettings,
    did_you_mean,
    number,
    option,
    whole,
)

SIZES = ("img_size", "channels", "classes", "width")  # what only a ready network is asked
LARGEST_BATCH = 2**20


@dataclass(frozen=True)
class SummarySettings:
    """Which model; without one the last run. The sizes are those of a ready network alone.

    None stands for the usual: 32 pixels, 3 channels, 10 classes, width 1, and the batch size of the
    model's run, else 32.
    """

    model: Path | None = None
    img_size: int | None = None
    channels: int | None = None
    classes: int | None = None
    width: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.model is not None:
            object.__setattr__(self, "model", Path(self.model))
        if self.img_size is not None:
            whole("img_size", self.img_size, SMALLEST_SIDE, LARGEST_SIDE)
        if self.channels is not None:
            whole("channels", self.channels, 1, 3)
        if self.classes is not None:
            whole("classes", self.classes, 1, 100_000)
        if self.width is not None:
            number("width", self.width, above=0, most=16)
        if self.batch_size is not None:
            whole("batch_size", self.batch_size, 1, LARGEST_BATCH)


@dataclass(frozen=True)
class ModelSummary:
    """The layers of a model, and the memory it takes at `batch_size`.

    `footprint` is None where one image alone would not fit into the memory that is free;
    `slots` are the buffers that `optimizer` has for every parameter.
    """

    model: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    layers: tuple[LayerRow, ...]
    parameters: int
    trainable_parameters: int
    batch_size: int
    optimizer: str
    slots: int
    footprint: Footprint | None
    notes: tuple[str, ...] = ()

    @property
    def multiply_adds(self) -> int:
        """Those of one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def inference_bytes(self) -> int | None:
        """The estimate of what classifying a batch takes."""
        return self.footprint.inference(self.batch_size) if self.footprint else None

    @property
    def training_bytes(self) -> int | None:
        """The estimate of what training on a batch takes."""
        return self.footprint.training(self.batch_size, self.slots) if self.footprint else None

    def kept(self, path: str) -> int:
        """Return the bytes that an image leaves for backward in a layer."""
        return self.footprint.kept.get(path, 0) if self.footprint else 0

    def to_document(self) -> dict[str, Any]:
        """Return everything as plain JSON values."""
        return {
            "model": self.model,
            "input_shape": list(self.input_shape),
            "output_shape": list(self.output_shape),
            "classes": None if self.classes is None else list(self.classes),
            "layers": [
                asdict(layer)
                | {"output_shape": list(layer.output_shape), "kept_bytes": self.kept(layer.path)}
                for layer in self.layers
            ],
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "parameter_bytes": self.parameters * ITEM_SIZE,
            "multiply_adds": self.multiply_adds,
            "memory": {
                "batch_size": self.batch_size,
                "optimizer": self.optimizer,
                "inference_bytes": self.inference_bytes,
                "training_bytes": self.training_bytes,
                "kept_bytes_per_image": self.footprint.kept_image if self.footprint else None,
            },
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class _Found:
    """A built network, what to call it, and the settings of its run."""

    name: str
    network: Network
    settings: dict[str, Any]
    notes: tuple[str, ...] = ()


def summarise_model(settings: SummarySettings) -> ModelSummary:
    """Describe a model; nothing is trained, and nothing written. Raises CpcnnError."""
    device = get_device("cpu")
    found = _ready(settings, device) or _trained(settings, device)
    network = found.network
    shape = network.input_shape
    assert shape is not None
    footprint = measure_footprint(network) if _fits(network) else None
    optimizer = str(found.settings.get("optimizer", TrainSettings.optimizer))
    params = network.store.params.values()
    return ModelSummary(
        model=found.name,
        input_shape=shape,
        output_shape=network.output_shape or (),
        classes=network.classes,
        layers=tuple(layer_rows(network.root, shape)),
        parameters=sum(param.size for param in params),
        trainable_parameters=sum(param.size for param in params if param.trainable),
        batch_size=settings.batch_size or _batch_size(found.settings),
        optimizer=optimizer,
        slots=len(get_optimizer(optimizer).slots) + bool(found.settings.get("ema")),
        footprint=footprint,
        notes=found.notes,
    )


def _ready(settings: SummarySettings, device: Device) -> _Found | None:
    """Build the ready network that is meant, unless a file or folder is."""
    name = str(settings.model)
    if name not in NETWORKS or Path(name).exists():
        return None
    size, channels = settings.img_size or 32, settings.channels or 3
    shape = (size, size, channels)
    network = Network(
        build_network(name, shape, settings.classes or 10, width=settings.width or 1.0)
    )
    network.build(shape, device=device)
    return _Found(name, network, {})


def _trained(settings: SummarySettings, device: Device) -> _Found:
    given = [name for name in SIZES if getattr(settings, name) is not None]
    if given:
        raise UsageError(
            f"{option(given[0])} goes with the name of a ready network: {', '.join(NETWORKS)}.",
            suggestion="A run or checkpoint knows its own sizes.",
        )
    source = _find(settings.model)
    run = source.run.settings() if source.run else {}
    notes = (source.notice,) if source.notice else ()
    return _Found(str(source.checkpoint), load_model(source.checkpoint, device), run, notes)


def _find(model: Path | None) -> ModelSource:
    try:
        return find_model(model)
    except CheckpointError as error:
        if model is None or model.exists():
            raise
        hint = did_you_mean(str(model), list(NETWORKS))
        raise CheckpointError(
            error.message,
            suggestion="Give a run directory, a checkpoint file, or the name of a ready network. "
            + hint,
        ) from None


def _batch_size(run: dict[str, Any]) -> int:
    found = run.get("batch_size")
    return found if isinstance(found, int) and 0 < found <= LARGEST_BATCH else BATCH_SIZE


def _fits(network: Network) -> bool:
    """Say whether a pass of one image is sure to fit into the memory that is free."""
    assert network.input_shape is not None
    places = trace_shapes(network.root, network.input_shape)
    values = sum(math.prod(place.output) for place in places)
    return 2 * values * ITEM_SIZE < available_memory()
