"""The Keras-shaped face: models that are compiled, fitted, evaluated, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .core.errors import CheckpointError, DataError, ShapeError, UsageError
from .core.param import check_weights
from .core.typing import Shape
from .layers import Graph, Input, Layer, Node, Stack, from_config
from .layers.summary import summary_lines
from .losses import CategoricalCrossentropy, get_loss
from .optimizers import Optimizer, get_optimizer
from .schedules import get_schedule
from .training.checkpoint import load_checkpoint, save_checkpoint
from .training.events import EpochEnded
from .training.network import Network
from .training.tally import Tally
from .training.trainer import Trainer, to_checkpoint

if TYPE_CHECKING:
    from .data.loader import Loader
    from .devices import Device

__all__ = ["History", "Input", "Model", "Sequential", "load_model"]


@dataclass
class History:
    """What `fit` returns: one list per quantity, one entry per epoch."""

    epoch: list[int] = field(default_factory=list)
    history: dict[str, list[float]] = field(default_factory=dict)

    def append(self, result: EpochEnded) -> None:
        self.epoch.append(result.epoch - 1)
        logs = {
            "loss": result.train_loss,
            "accuracy": result.train_accuracy,
            "val_loss": result.validation_loss,
            "val_accuracy": result.validation_accuracy,
            "learning_rate": result.learning_rate,
        }
        for name, value in logs.items():
            if value is not None:
                self.history.setdefault(name, []).append(value)


class Model(Network):
    """A network from symbolic `inputs` to `outputs`, with Keras' verbs.

    >>> image = Input((28, 28, 1))
    >>> model = Model(image, Dense(10, activation="softmax")(Flatten()(image)))
    """

    def __init__(self, inputs: Node, outputs: Node) -> None:
        source, result = _single(inputs, "inputs"), _single(outputs, "outputs")
        self._start(Graph.between(source, result), source.shape)
        self.infer_shapes()

    def _start(self, root: Layer, input_shape: Shape | None = None) -> None:
        Network.__init__(self, root, input_shape)
        self._optimizer: Optimizer | None = None
        self._loss = CategoricalCrossentropy()
        self._metrics: tuple[str, ...] = ("accuracy",)

    @classmethod
    def from_layer(cls, root: Layer, input_shape: Shape | None = None) -> Model:
        """Make a model of any layer, for instance of a network of `cpcnn.networks`."""
        model = Model.__new__(Sequential if isinstance(root, Stack) else Model)
        model._start(root, input_shape)
        if input_shape is not None:
            model.infer_shapes()
        return model

    def __call__(self, inputs: Node) -> Node:
        """Apply the model symbolically, as a layer of another model that shares its weights."""
        return self.root(inputs)

    # --- training -------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "adam",
        loss: str | CategoricalCrossentropy = "categorical_crossentropy",
        metrics: Sequence[str] = ("accuracy",),
    ) -> None:
        """Choose the optimizer, the loss and the metrics that `evaluate` reports.

        Metrics are "accuracy", and "precision", "recall" and "f1" as means over classes.
        """
        unknown = set(metrics) - {"accuracy", "precision", "recall", "f1"}
        if unknown:
            raise UsageError(
                f"there is no metric named {sorted(unknown)[0]!r}.",
                suggestion="Known metrics: accuracy, precision, recall, f1.",
            )
        self._optimizer = get_optimizer(optimizer)
        self._loss = get_loss(loss)
        self._metrics = tuple(metrics)

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        batch_size: int = 32,
        epochs: int = 1,
        validation_data: Any = None,
        schedule: str = "constant",
        seed: int = 0,
        verbose: int = 1,
    ) -> History:
        """Train on arrays x (N, H, W, C), y (class indices or one-hot), or on a Loader.

        `validation_data` is a pair of arrays or a Loader. `verbose=0` prints nothing, otherwise
        there is a line an epoch. UsageError when the model was not compiled.
        """
        if self._optimizer is None:
            raise UsageError(
                "the model is not compiled.", suggestion='Call compile(optimizer="adam") first.'
            )
        train = _as_loader(x, y, batch_size, shuffle=True, seed=seed)
        self._adopt(train)
        trainer = Trainer(
            self,
            train,
            _validation_loader(validation_data, batch_size),
            self._optimizer,
            get_schedule(schedule, self._optimizer.learning_rate, epochs * len(train)),
            self._loss,
            epochs,
            seed=seed,
        )
        history = History()
        for event in trainer.run():
            if isinstance(event, EpochEnded):
                history.append(event)
                if verbose:
                    print(_epoch_line(event))
        return history

    def _adopt(self, loader: Loader) -> None:
        """Build for the data's image shape if need be; ShapeError when labels do not fit."""
        dataset = loader.dataset
        if self.input_shape is None:
            self.input_shape = tuple(dataset.image_shape)
        if not self.built:
            self.build()
        top = int(dataset.labels.max(initial=0))
        assert self.output_shape is not None
        if len(self.output_shape) != 1 or top >= self.output_shape[0]:
            raise ShapeError(
                f"the model's output has shape {self.output_shape}, "
                f"and the labels go up to {top}: it takes {top + 1} outputs."
            )

    # --- use ------------------------------------------------------------------------------

    def evaluate(self, x: Any, y: Any = None, *, batch_size: int = 32) -> dict[str, float]:
        """Return the loss and the compiled metrics on arrays or a Loader."""
        from .metrics import ConfusionMatrix, per_class

        loader = _as_loader(x, y, batch_size)
        if len(loader) == 0:
            raise DataError("there are no images to evaluate on.")
        self._adopt(loader)
        assert self.output_shape is not None
        tally, confusion = Tally(self.device), ConfusionMatrix(self.output_shape[0])
        for batch, logits in self.logits_batches(loader.epoch(0)):
            with self.device.scope():
                ctx = self.context()
                labels = self.device.put(np.ascontiguousarray(batch.labels))
                tally.add(ctx, self._loss(ctx, logits, labels)[0], logits, labels)
                predicted = self.device.get(ctx.xp.argmax(logits, axis=-1))
            confusion.update(batch.labels, predicted)
        tally.read()
        scores = per_class(confusion.counts)
        means = {
            "accuracy": scores.accuracy,
            "precision": scores.macro.precision,
            "recall": scores.macro.recall,
            "f1": scores.macro.f1,
        }
        return {"loss": tally.loss} | {name: float(means[name]) for name in self._metrics}

    def predict(self, x: Any, *, batch_size: int = 32) -> NDArray[np.float32]:
        """Return the outputs for arrays (N, H, W, C) or a Loader: (N, K) class probabilities."""
        labels = None if _is_loader(x) else np.zeros(len(x), np.int64)
        loader = _as_loader(x, labels, batch_size)
        if self.input_shape is None:
            self._adopt(loader)
        parts = [y for _, y in self.predict_batches(loader)]
        assert self.output_shape is not None or not parts
        return np.concatenate(parts) if parts else np.zeros((0, *(self.output_shape or ())), "f4")

    def summary(self, print_fn: Callable[[str], None] = print) -> None:
        """Print a table of layers, output shapes and numbers of parameters."""
        for line in summary_lines(self.root, self.store.params):
            print_fn(line)

    def save(self, path: Path | str) -> None:
        """Write the model to one file, atomically; see `load_model`."""
        save_checkpoint(Path(path), to_checkpoint(self))


class Sequential(Model):
    """Layers one after the other; the first may be Input(shape), or know its input_shape."""

    def __init__(self, layers: Iterable[Layer | Node | Network] = ()) -> None:
        self._start(Stack([]))
        for layer in layers:
            self.add(layer)

    def add(self, layer: Layer | Node | Network) -> None:
        """Append a layer, or another model as a layer."""
        assert isinstance(self.root, Stack)
        if isinstance(layer, Node):
            if layer.layer is not None or self.root.layers:
                raise UsageError("only Input(shape) can be added, and only as the first element.")
            self.input_shape = layer.shape
            return
        if isinstance(layer, Network):
            if not self.root.layers and self.input_shape is None:
                self.input_shape = layer.input_shape
            layer = layer.root
        if not isinstance(layer, Layer):
            raise UsageError(f"a Sequential model is made of layers, not of {layer!r}.")
        if not self.root.layers and self.input_shape is None and layer.input_shape:
            self.input_shape = tuple(layer.input_shape)
        self.root.layers.append(layer)
        self._store = None
        if self.input_shape is not None:
            self.infer_shapes()


def load_model(path: Path | str, device: str | Device = "auto") -> Model:
    """Read what `save` or training wrote; CheckpointError says what is wrong with a file."""
    from .devices import get_device

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
    model.build(device=place)
    model.store.set_weights(checkpoint.weights)
    model.classes = checkpoint.classes
    model.preprocessing = checkpoint.preprocessing
    return model


def _single(nodes: Any, name: str) -> Node:
    if isinstance(nodes, (list, tuple)):
        if len(nodes) != 1:
            raise UsageError(f"an image classifier has one of {name}, got {len(nodes)}.")
        nodes = nodes[0]
    if not isinstance(nodes, Node):
        raise UsageError(
            f"{name} must be what Input(...) or a called layer returns, not {nodes!r}."
        )
    return nodes


def _is_loader(x: Any) -> bool:
    return hasattr(x, "epoch") and hasattr(x, "dataset")


def _as_loader(x: Any, y: Any, batch_size: int, *, shuffle: bool = False, seed: int = 0) -> Any:
    from .data.dataset import ArrayDataset
    from .data.loader import Loader

    if _is_loader(x):
        if y is not None:
            raise UsageError("a Loader brings its own labels: leave y out.")
        return x
    if y is None:
        raise UsageError("arrays need labels: pass x and y.")
    dataset = ArrayDataset(np.asarray(x), np.asarray(y))
    return Loader(dataset, batch_size, shuffle=shuffle, seed=seed, workers=0)


def _validation_loader(data: Any, batch_size: int) -> Any:
    if data is None or _is_loader(data):
        return data
    if not (isinstance(data, (tuple, list)) and len(data) == 2):
        raise UsageError("validation_data must be a pair (x, y) or a Loader.")
    return _as_loader(data[0], data[1], batch_size)


def _epoch_line(event: EpochEnded) -> str:
    line = (
        f"Epoch {event.epoch}/{event.epochs} - {event.seconds:.1f}s - "
        f"loss: {event.train_loss:.4f} - accuracy: {event.train_accuracy:.4f}"
    )
    if event.validation_accuracy is not None:
        line += (
            f" - val_loss: {event.validation_loss:.4f}"
            f" - val_accuracy: {event.validation_accuracy:.4f}"
        )
    return line
