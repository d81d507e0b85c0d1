"""Models that are compiled, fitted, evaluated and saved with Keras' verbs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.errors import DataError, ShapeError, UsageError
from ..core.param import ParamStore
from ..core.typing import Shape
from ..layers import Graph, Layer, Node, Stack
from ..layers.base import as_list, as_shape
from ..layers.summary import summary_lines
from ..losses import CategoricalCrossentropy, Loss, get_loss
from ..metrics import Metric, get_metric
from ..optimizers import Optimizer, get_optimizer
from ..schedules import Schedule, get_schedule
from ..training.checkpoint import save_checkpoint, to_checkpoint
from ..training.events import Callback, EpochEnded, TrainingStarted
from ..training.learning_rate_finder import LearningRateFinder
from ..training.measure import measure
from ..training.network import Network
from ..training.trainer import Trainer
from .history import History, epoch_line, scores_line
from .inputs import (
    as_loader,
    check_epochs,
    split_arrays,
    validation_loader,
    weights_of_classes,
)
from .meaning import check_meaning

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..data.loader import Loader
    from ..devices import Device

MetricLike: TypeAlias = str | Metric | type[Metric]


class Model(Network):
    """A network from symbolic `inputs` to `outputs`, with Keras' verbs.

    ```python
    image = Input((28, 28, 1))
    model = Model(image, Dense(10, activation="softmax")(Flatten()(image)))
    ```
    """

    def __init__(self, inputs: Node, outputs: Node, name: str | None = None) -> None:
        source, result = _single(inputs, "inputs"), _single(outputs, "outputs")
        self._start(Graph.between(source, result), source.shape)
        self.root.name = name  # of the layer that it is in another model
        self.infer_shapes()

    def _start(self, root: Layer, input_shape: Shape | None = None) -> None:
        Network.__init__(self, root, input_shape)
        self.optimizer: Optimizer | None = None
        self._loss: Loss = CategoricalCrossentropy()
        self._metrics: tuple[Metric, ...] = ()
        # whose state the optimizer has: these parameters' if it still has these buffers
        self._trained: tuple[ParamStore, dict[str, Any]] | None = None

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

    # --- layers and weights ---------------------------------------------------------------

    @property
    def layers(self) -> list[Layer]:
        """The layers, in the order of `summary`; one that is made of layers counts as one."""
        return list(self._children().values())

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """Return the layer of a name that `summary` shows, or by its place."""
        layers = self._children()
        if name in layers:
            return layers[name]
        if index is not None and index in range(-len(layers), len(layers)):
            return list(layers.values())[index]
        raise UsageError(
            f"there is no layer {name if index is None else index!r}.",
            suggestion=f"The layers are: {', '.join(layers)}.",
        )

    def _children(self) -> dict[str, Layer]:
        if self.input_shape is not None:
            _ = self.store  # built by now: the layers have their weights
        return self.root.children()

    def get_weights(self) -> list[NDArray[Any]]:
        """Copy all parameters to the host, layer by layer, as Keras orders them."""
        _ = self.store
        return self.root.get_weights()

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set all parameters, in the order of `get_weights`; ShapeError unless they fit.

        Weights of a Keras model of the same layers fit: shapes and order are Keras'.
        """
        _ = self.store
        self.root.set_weights(weights)

    def count_params(self) -> int:
        """The number of parameters, running statistics among them."""
        return self.num_parameters

    # --- training -------------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer | type[Optimizer] = "rmsprop",
        loss: str | Loss | type[Loss] = "categorical_crossentropy",
        metrics: MetricLike | Sequence[MetricLike] | None = None,
    ) -> None:
        """Choose the optimizer, the loss and the metrics, each by name, as object or class."""
        given: Any = metrics
        chosen = given or () if isinstance(given, list | tuple | None) else [given]
        made = tuple(get_metric(metric) for metric in chosen)
        names = [metric.name for metric in made]
        twice = {name for name in names if names.count(name) > 1 or name == "loss"}
        if twice:
            raise UsageError(
                f"compile: two quantities are called {min(twice)!r}.",
                suggestion="Give one of the metrics another name.",
            )
        self.optimizer = get_optimizer(optimizer)
        self._loss = get_loss(loss)
        self._metrics = made
        self._trained = None

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` returns, in its order."""
        return ["loss", *(metric.name for metric in self._metrics)]

    def fit(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Callback | Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        *,
        schedule: str | None = None,
        seed: int = 0,
    ) -> History:
        """Train on arrays x (N, H, W, C), y (class indices or one-hot), or on a Loader.

        `validation_data` is a pair of arrays or a Loader; `validation_split` takes the last share
        of the arrays. A Loader has its own batches and order. `class_weight` {class: weight}
        multiplies the losses of training. `schedule` is a name of `cpcnn.schedules.get_schedule`
        whose highest rate is the optimizer's; without it the optimizer's own rate or schedule
        counts. Training again goes on with the optimizer's state, until `compile`. `seed` is that
        of the order, dropout, and of the weights if there are none yet. `verbose=0` prints
        nothing, otherwise there is a line an epoch.
        """
        if validation_split and validation_data is None:
            x, y, validation_data = split_arrays(x, y, validation_split)
        check_epochs(epochs)
        train = as_loader(x, y, batch_size, shuffle=shuffle, seed=seed)
        trainer = self._trainer(train, epochs, schedule, seed)
        validation = validation_loader(validation_data, batch_size)
        if validation is not None:
            self._check_fits(validation.dataset)
        trainer.validation = validation
        trainer.callbacks = _as_callbacks(callbacks)
        trainer.class_weights = weights_of_classes(class_weight, self.num_classes)
        history = History()
        for event in trainer.run():
            if isinstance(event, TrainingStarted):
                self._remember_state()
            elif isinstance(event, EpochEnded):
                history.append(event)
                if verbose:
                    print(epoch_line(event, self.metrics_names))
        return history

    def find_learning_rate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        *,
        min_learning_rate: float = 1e-6,
        max_learning_rate: float = 1.0,
        steps: int = 100,
        seed: int = 0,
    ) -> LearningRateFinder:
        """Train for some steps at growing rates, take it back, and return what was seen.

        Data are those of `fit`, the numbers those of `LearningRateFinder`.
        """
        finder = LearningRateFinder(min_learning_rate, max_learning_rate, steps)
        train = as_loader(x, y, batch_size, shuffle=True, seed=seed)
        trainer = self._trainer(train, 1, None, seed)
        finder.attach(trainer)
        if trainer.resume:
            self._remember_state()
        return finder

    def _trainer(self, train: Loader, epochs: int, schedule: str | None, seed: int) -> Trainer:
        """Build the model if need be, and what trains it."""
        optimizer = self.optimizer
        if optimizer is None:
            raise UsageError(
                "the model is not compiled.", suggestion='Call compile(optimizer="adam") first.'
            )
        self._adopt(train, seed)
        self.apply_freezing()
        resume = self._has_state()
        updates = epochs * -(-len(train) // (optimizer.gradient_accumulation_steps or 1))
        return Trainer(
            self,
            train,
            None,
            optimizer,
            _schedule(schedule, optimizer, updates),
            self._loss,
            epochs,
            seed=seed,
            metrics=self._metrics,
            resume=resume,
            # a schedule by name is that of one fit, the optimizer's own goes on
            schedule_start=optimizer.step if schedule and resume else 0,
        )

    def _adopt(self, loader: Loader, seed: int = 0) -> None:
        """Build for the data's image shape if need be; ShapeError when data do not fit."""
        self._build_for(loader, seed)
        self._check_fits(loader.dataset)

    def _build_for(self, loader: Loader, seed: int = 0) -> None:
        if self.input_shape is None:
            self.input_shape = tuple(loader.dataset.image_shape)
        if not self.built:
            self.build(seed=seed)

    def _check_fits(self, dataset: Dataset) -> None:
        """ShapeError unless the model takes these images and can tell their classes apart."""
        found = tuple(dataset.image_shape)
        if len(dataset) and found != self.input_shape:
            raise ShapeError(f"the model takes images of shape {self.input_shape}, not {found}.")
        if not self.num_classes:
            raise ShapeError(
                f"the model's output has shape {self.output_shape}; "
                "a classifier gives one number for each class.",
                suggestion="End it in Flatten or GlobalAveragePooling2D, and Dense.",
            )
        top = int(dataset.labels.max(initial=0))
        if top >= self.num_classes:
            raise ShapeError(
                f"the model's output has shape {self.output_shape}, "
                f"and the labels go up to {top}: it takes {top + 1} outputs."
            )
        if len(dataset.classes) > self.num_classes:
            raise ShapeError(
                f"the model's output has shape {self.output_shape}, "
                f"and the data are of {len(dataset.classes)} classes."
            )

    # --- the optimizer's state ------------------------------------------------------------

    def _remember_state(self) -> None:
        assert self.optimizer is not None
        self._trained = self.store, self.optimizer.buffers

    def _has_state(self) -> bool:
        """Whether the optimizer's state is that of this model's parameters."""
        if self._trained is None or self.optimizer is None:
            return False
        store, buffers = self._trained
        return store is self.store and buffers is self.optimizer.buffers

    def to(self, device: str | Device) -> Model:
        """Move parameters and optimizer to a device, and compute there from now on."""
        optimizer = self.optimizer if self._has_state() else None
        state = optimizer.get_state(self.store) if optimizer else {}
        super().to(device)
        if optimizer:
            optimizer.set_state(self.store, state, optimizer.step)
            self._remember_state()
        return self

    # --- use ------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        *,
        return_dict: bool = False,
    ) -> Any:
        """Return the loss and the compiled metrics on arrays or a Loader.

        As in Keras a list in the order of `metrics_names`, the loss alone where there are no
        metrics, or with `return_dict` a dictionary. `verbose=0` does not print them.
        """
        loader = as_loader(x, y, batch_size)
        if len(loader) == 0:
            raise DataError("there are no images to evaluate on.")
        self._adopt(loader)
        # copies: a callback may evaluate in the middle of an epoch that the metrics are counting
        tally = measure(self, self._loss, loader, copy.deepcopy(self._metrics))
        scores = {"loss": tally.loss} | tally.results()
        if verbose:
            print(scores_line(scores))
        if return_dict:
            return scores
        return list(scores.values()) if self._metrics else tally.loss

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: int | str = "auto"
    ) -> NDArray[np.float32]:
        """Return the outputs for arrays (N, H, W, C) or a Loader: (N, K), for one output (N, 1).

        Nothing is printed, whatever `verbose` says. The logits of a model with class names become
        probabilities.
        """
        loader = as_loader(x, None, batch_size, labelled=False)
        self._build_for(loader)
        parts = [y for _, y in self.output_batches(loader)]
        assert self.output_shape is not None or not parts
        return np.concatenate(parts) if parts else np.zeros((0, *(self.output_shape or ())), "f4")

    def summary(self, print_fn: Callable[[str], None] = print) -> None:
        """Print a table of layers, output shapes and numbers of parameters."""
        for line in summary_lines(self.root, self.store.params):
            print_fn(line)

    def save(self, path: Path | str) -> None:
        """Write the model to one file, atomically; see `load_model`.

        `classes` and `preprocessing` go with it, and make it a model that the command line can use.
        UsageError when they do not fit the model.
        """
        check_meaning(self)
        save_checkpoint(Path(path), to_checkpoint(self))


class Sequential(Model):
    """Layers one after the other; the first may be Input(shape), or know its input_shape."""

    def __init__(
        self, layers: Iterable[Layer | Node | Network] | None = None, name: str | None = None
    ) -> None:
        self._start(Stack([], name=name))
        for layer in as_list(layers or (), "a Sequential model"):
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
            self.input_shape = as_shape(layer.input_shape, "input_shape")
        self.root.layers.append(layer)
        self._store = None
        if self.input_shape is not None:
            self.infer_shapes()


def _single(nodes: Any, name: str) -> Node:
    if isinstance(nodes, (list, tuple)):
        if len(nodes) != 1:
            raise UsageError(f"an image classifier has one of {name}, got {len(nodes)}.")
        nodes = nodes[0]
    if not isinstance(nodes, Node):
        raise UsageError(
            f"{name} must be what Input(...) or a called layer returns, not {type(nodes).__name__}."
        )
    return nodes


def _as_callbacks(callbacks: Callback | Sequence[Callback] | None) -> list[Callback]:
    given: Any = callbacks
    chosen = list(given or ()) if isinstance(given, list | tuple | None) else [given]
    for callback in chosen:
        if isinstance(callback, type) or not callable(callback):
            raise UsageError(
                f"{callback!r} is no callback.",
                suggestion="Pass an object of cpcnn.callbacks, or a function that takes an event.",
            )
    return chosen


def _schedule(name: str | None, optimizer: Optimizer, updates: int) -> Schedule:
    if name is None:
        return optimizer.schedule
    if callable(optimizer.learning_rate):
        raise UsageError(
            f"fit: schedule={name!r}, and the optimizer has a schedule of its own.",
            suggestion="Leave one of them out.",
        )
    return get_schedule(name, optimizer.learning_rate, updates)
