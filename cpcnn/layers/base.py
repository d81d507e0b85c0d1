"""What a layer is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.options import is_whole
from ..core.param import Initializer, Param
from ..core.typing import Array, Saved, Shape

if TYPE_CHECKING:
    from .graph import Node


@dataclass(eq=False)
class Layer:
    """A function with parameters, and its gradient.

    Dataclass fields are the saved configuration. `build` checks the input shape (without the
    batch), creates parameters with `add_param` and returns the output shape. `forward` returns
    (y, saved); `backward` returns dx and accumulates into the parameters' gradients. Nothing else
    is kept on the layer, so one instance can be used at several places.

    `trainable = False` freezes a layer: its parameters stay as they are, from the next training on.
    """

    name: str | None = field(default=None, kw_only=True)
    input_shape: Shape | None = field(default=None, kw_only=True, repr=False)
    trainable: bool = field(default=True, kw_only=True, repr=False)

    # where the layer stands in its model, and what it gives there: known once it is built
    path: str = field(default="", init=False, repr=False)
    output_shape: Shape | None = field(default=None, init=False, repr=False)

    multiple_inputs: ClassVar[bool] = False  # True: shape, x and dx are tuples

    def build(self, shape: Any) -> Shape:
        raise NotImplementedError

    def forward(self, x: Any, ctx: Context) -> tuple[Array, Saved]:
        raise NotImplementedError

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Any:
        raise NotImplementedError

    def children(self) -> dict[str, Layer]:
        """The layers directly inside this one, by name."""
        return {}

    def add_param(
        self,
        name: str,
        shape: Shape,
        initializer: Initializer,
        *,
        trainable: bool = True,
        decay: bool = True,
    ) -> Param:
        """Create the parameter `name`, or keep the one a first use of this layer created."""
        existing = getattr(self, name, None)
        if existing is None:
            return Param(shape, initializer, trainable=trainable, decay=decay)
        if existing.shape != shape:
            raise ShapeError(
                f"has a {name} of shape {existing.shape} from its first use, "
                f"and this use needs {shape}.",
                suggestion="A shared layer needs inputs with the same number of channels.",
            )
        return existing

    def accumulate(self, **gradients: Array | None) -> None:
        """Add to the gradients of parameters by name, leaving out those the layer does without."""
        for name, gradient in gradients.items():
            param: Param | None = getattr(self, name)
            if param is not None:
                param.accumulate(gradient)

    def params(self) -> dict[str, Param]:
        """This layer's own parameters, by attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Param)}

    def walk(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Yield (path, layer) for this layer and all inside it, each instance once."""
        seen: set[int] = set()
        pending: list[tuple[str, Layer]] = [(prefix, self)]
        while pending:
            path, layer = pending.pop()
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            yield path, layer
            inside = layer.children().items()
            pending.extend((join(path, name), child) for name, child in reversed(list(inside)))

    def parameters(self) -> dict[str, Param]:
        """All parameters of this layer and the layers inside it, by path."""
        return {
            join(path, name): param
            for path, layer in self.walk()
            for name, param in layer.params().items()
        }

    def get_weights(self) -> list[NDArray[Any]]:
        """Copy the parameters to the host: this layer's own, then those of the layers inside it."""
        return [param.to_host() for param in self._known_parameters().values()]

    def set_weights(self, weights: Sequence[ArrayLike]) -> None:
        """Set the parameters, in the order of `get_weights`; ShapeError unless all of them fit."""
        params, arrays = self._known_parameters(), [np.asarray(array) for array in weights]
        expected = [param.shape for param in params.values()]
        if [array.shape for array in arrays] != expected:
            found = ", ".join(str(array.shape) for array in arrays) or "none"
            raise ShapeError(
                f"the weights have shapes {found}; "
                f"expected are {', '.join(map(str, expected)) or 'none'}."
            )
        for param, array in zip(params.values(), arrays, strict=True):
            param.assign(array)

    def _known_parameters(self) -> dict[str, Param]:
        params = self.parameters()
        if any(param.store is None for param in params.values()):
            raise UsageError(
                f"layer {self.name or snake_case(type(self).__name__)!r} has no weights yet.",
                suggestion="Its model makes them: call build() on that.",
            )
        return params

    def __call__(self, inputs: Node | list[Node] | tuple[Node, ...]) -> Node:
        """Apply the layer symbolically, as in `x = Dense(10)(x)`."""
        from .graph import apply

        return apply(self, inputs)


@dataclass(eq=False)
class Container(Layer):
    """A layer made of layers, which `children` lists.

    It gives each of them the context from `inside`, so that a layer that stands at several places
    draws other random numbers at each. Setting `trainable` sets that of all layers inside; those
    can then be set again one by one.
    """

    trainable: bool = field(default=True, init=False, repr=False)  # saved by the layers inside
    # children, by number, whose path is another place, and the place where they stand here
    elsewhere: dict[int, str] = field(default_factory=dict, init=False, repr=False)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "trainable":
            for child in self.children().values():
                child.trainable = value

    def find_trainable(self) -> None:
        """Set `trainable` by the layers inside: False when all of them are frozen."""
        inside = self.children().values()
        vars(self)["trainable"] = not inside or any(child.trainable for child in inside)

    def inside(self, number: int, ctx: Context) -> Context:
        """Return the context for a child, given that of this layer."""
        place = self.elsewhere.get(number)
        return ctx if place is None else ctx.variant(rng=ctx.rng.child(place))


def assign_paths(root: Layer) -> None:
    """Tell every layer its path: the first place where it stands."""
    for path, layer in root.walk():
        layer.path = path
    for path, layer in root.walk():
        if isinstance(layer, Container):
            places = [(join(path, name), child) for name, child in layer.children().items()]
            layer.elsewhere = {
                number: place for number, (place, child) in enumerate(places) if child.path != place
            }


def freeze_parameters(root: Layer) -> bool:
    """Mark the parameters of frozen layers, and no others; return whether a mark has changed."""
    changed = False
    for _, layer in root.walk():
        for param in layer.params().values():
            changed |= param.frozen == layer.trainable
            param.frozen = not layer.trainable
    return changed


def join(path: str, name: str) -> str:
    """Append a name to a layer path."""
    return f"{path}.{name}" if path else name


def build_child(name: str, layer: Layer, shape: Any) -> Shape:
    """Build a layer inside a container; a ShapeError gains the container's view of its path."""
    try:
        layer.output_shape = layer.build(shape)
    except ShapeError as error:
        raise error.within(name) from None
    return layer.output_shape


def require_layers(layers: Any, owner: str) -> list[Layer]:
    """Check that a container was given layers, and return them as a list."""
    found = as_list(layers, owner)
    for layer in found:
        if not isinstance(layer, Layer):
            raise UsageError(f"{owner} is made of layers, not of {layer!r}.")
    return found


def as_list(layers: Any, owner: str) -> list[Any]:
    """Return what a container is made of as a list; UsageError for a single layer."""
    if not isinstance(layers, Iterable):
        raise UsageError(f"{owner} takes a list of layers, not {layers!r:.80}.")
    return list(layers)


def require_image(shape: Any, layer: str) -> tuple[int, int, int]:
    """Check that a layer's input shape is (height, width, channels)."""
    if not (isinstance(shape, tuple) and len(shape) == 3):
        raise ShapeError(
            f"{layer} expects images of shape (height, width, channels), got {shape}.",
            suggestion="Was there a Flatten or a global pooling before it?",
        )
    return shape


def joined_shape(shapes: list[Shape], axis: int) -> Shape:
    """Return the shape of results joined along an axis; shapes are without the batch, axis 0."""
    place = axis - 1 if axis > 0 else axis + len(shapes[0])
    if not 0 <= place < len(shapes[0]):
        raise ShapeError(f"results of shape {shapes[0]} have no axis {axis} to be joined along.")
    others = {(*shape[:place], *shape[place + 1 :]) for shape in shapes}
    if len(others) > 1 or len({len(shape) for shape in shapes}) > 1:
        found = " and ".join(str(shape) for shape in dict.fromkeys(shapes))
        raise ShapeError(
            f"results of shapes {found} cannot be joined along axis {axis}: "
            "they must agree in all other axes.",
            suggestion='Padding "same" and equal strides keep images the same size.',
        )
    first = shapes[0]
    return (*first[:place], sum(shape[place] for shape in shapes), *first[place + 1 :])


def require_positive(value: Any, option: str, layer: str) -> int:
    """Return an integer option such as `filters` or `units`, which NumPy may have counted."""
    if not is_whole(value) or value < 1:
        raise UsageError(f"{layer}: {option} must be a positive integer, not {value!r}.")
    return int(value)


def as_shape(shape: Any, what: str) -> Shape:
    """Return the shape of one sample as a tuple; UsageError unless it is of positive integers."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if not sizes or not all(is_whole(size) and size > 0 for size in sizes):
        raise UsageError(
            f"{what} must be positive integers such as (32, 32, 3), not {shape!r:.80}.",
            suggestion="It is that of one image, without the batch; no size can be left open.",
        )
    return tuple(map(int, sizes))


def require_channels_last(data_format: Any, layer: str) -> None:
    """Check Keras' option `data_format`: images are channels-last here, everywhere."""
    if data_format not in (None, "channels_last"):
        raise UsageError(
            f"{layer}: data_format must be None or 'channels_last', not {data_format!r}.",
            suggestion="Images are arrays of shape (height, width, channels) here; "
            "bring other data into this order before it enters the network.",
        )


def snake_case(name: str) -> str:
    """Turn a class name into a layer name as Keras does.

    Conv2D -> conv2d, MaxPooling2D -> max_pooling2d, Conv2DTranspose -> conv2d_transpose.
    """
    pieces = []
    for index, letter in enumerate(name):
        before, after = name[index - 1 : index], name[index + 1 : index + 2]
        starts_word = letter.isupper() and (before.islower() or (before and after.islower()))
        pieces.append("_" + letter if starts_word else letter)
    return "".join(pieces).lower()


def unique_names(layers: list[Layer]) -> list[str]:
    """Name layers: their own name, or their class in snake case and a number for the repeats."""
    taken = _own_names(layers)
    names: list[str] = []
    seen: set[int] = set()
    for layer in layers:
        name = layer.name
        if name is None or id(layer) in seen:  # an instance may stand at several places
            name = _numbered(name or snake_case(type(layer).__name__), taken)
        seen.add(id(layer))
        taken.add(name)
        names.append(name)
    return names


def _numbered(base: str, taken: set[str]) -> str:
    name, number = base, 0
    while name in taken:
        number += 1
        name = f"{base}_{number}"
    return name


def _own_names(layers: list[Layer]) -> set[str]:
    """The names that users gave; UsageError unless they can be parts of paths."""
    taken: set[str] = set()
    for layer in {id(layer): layer for layer in layers if layer.name is not None}.values():
        name: Any = layer.name
        valid = isinstance(name, str) and name and "." not in name
        if not valid or name in taken:
            raise UsageError(
                f"layer name {name!r} is "
                + ("used twice." if valid else "no word, or contains a dot."),
                suggestion="Names become parts of parameter paths and must be unique.",
            )
        taken.add(name)
    return taken
