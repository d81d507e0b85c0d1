"""Normalisation layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.context import Context
from ..core.errors import ShapeError, UsageError
from ..core.options import check_number
from ..core.param import Param
from ..core.typing import Array, Saved, Shape
from ..ops.activations import get_activation
from .base import Layer
from .initializers import InitializerLike, get_initializer


class Normalizing(Layer):
    """What the layers of this file have in common: `epsilon`, a gain and an offset."""

    epsilon: float
    center: bool
    scale: bool
    beta_initializer: InitializerLike
    gamma_initializer: InitializerLike

    def __post_init__(self) -> None:
        check_number(self, "epsilon", above=0)
        self.gamma: Param | None = None
        self.beta: Param | None = None

    def add_gain_and_offset(self, shape: Shape) -> None:
        if self.scale:
            gamma = get_initializer(self.gamma_initializer)
            self.gamma = self.add_param("gamma", shape, gamma, decay=False)
        if self.center:
            beta = get_initializer(self.beta_initializer)
            self.beta = self.add_param("beta", shape, beta, decay=False)

    def backward(self, dy: Array, saved: Saved, ctx: Context) -> Array:
        return self.gradients(dy, saved, ctx)[0]

    def gradients(self, dy: Array, saved: Saved, ctx: Context) -> tuple[Array, Array | None]:
        """The backward pass: the gradients of the input and of the residual."""
        dx, dgamma, dbeta, *residual = ctx.ops.backward(dy, saved)
        self.accumulate(gamma=dgamma, beta=dbeta)
        return dx, residual[0] if residual else None


@dataclass(eq=False)
class BatchNormalization(Normalizing):
    """Normalise each channel by the batch in training, by running statistics otherwise.

    `momentum` is the share of the old running statistics that is kept, as in Keras. `activation`
    is applied to the result. `axis` is the last one. Frozen (`trainable=False`) it runs on the
    statistics in training too, and leaves them as they are.
    """

    axis: int = -1
    momentum: float = 0.99
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: InitializerLike = "zeros"
    gamma_initializer: InitializerLike = "ones"
    moving_mean_initializer: InitializerLike = "zeros"
    moving_variance_initializer: InitializerLike = "ones"
    activation: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "momentum", least=0, below=1)
        require_integer(self.axis, "BatchNormalization")
        get_activation(self.activation)
        self.moving_mean: Param | None = None
        self.moving_variance: Param | None = None

    def build(self, shape: Shape) -> Shape:
        channels = (require_last_axis(shape, self.axis, "BatchNormalization"),)
        self.add_gain_and_offset(channels)
        mean = get_initializer(self.moving_mean_initializer)
        variance = get_initializer(self.moving_variance_initializer)
        self.moving_mean = self.add_param("moving_mean", channels, mean, trainable=False)
        self.moving_variance = self.add_param(
            "moving_variance", channels, variance, trainable=False
        )
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return self.normalise(x, None, ctx)

    def normalise(self, x: Array, residual: Array | None, ctx: Context) -> tuple[Array, Saved]:
        """The forward pass, with a residual that is added before the activation."""
        # statistics stay in the parameters' dtype and are updated in place, or else a copy of them
        statistics = [self.moving_mean.value, self.moving_variance.value]  # type: ignore[union-attr]
        if ctx.training and not self.trainable:
            ctx = ctx.variant(training=False)
        if ctx.training and not ctx.update_statistics:
            statistics = [ctx.xp.asarray(array, copy=True) for array in statistics]
        return ctx.ops.batch_norm(
            x,
            ctx.use(self.gamma),
            ctx.use(self.beta),
            *statistics,
            momentum=self.momentum,
            epsilon=self.epsilon,
            activation=self.activation,
            residual=residual,
        )


@dataclass(eq=False)
class LayerNormalization(Normalizing):
    """Normalise each sample over its last axes, with a gain and an offset for every place there.

    `axis` is the last axis, or a tuple of the last ones, such as (-3, -2, -1) for whole images;
    the batch is axis 0 (Ba, Kiros and Hinton, 2016, arXiv:1607.06450).
    """

    axis: int | tuple[int, ...] = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: InitializerLike = "zeros"
    gamma_initializer: InitializerLike = "ones"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.axis, (tuple, list)):
            self.axis = tuple(self.axis)
        for axis in self.axes:
            require_integer(axis, "LayerNormalization")

    @property
    def axes(self) -> tuple[int, ...]:
        return self.axis if isinstance(self.axis, tuple) else (self.axis,)

    def build(self, shape: Shape) -> Shape:
        self.add_gain_and_offset(shape[-self.last_axes(len(shape)) :])
        return shape

    def last_axes(self, dimensions: int) -> int:
        """How many axes at the end are normalised, of samples that have `dimensions` axes."""
        places = sorted(axis - 1 if axis > 0 else axis + dimensions for axis in self.axes)
        last = range(dimensions - len(places), dimensions)
        if not places or places[0] < 0 or places != list(last):
            raise ShapeError(
                f"LayerNormalization is over the last axes, in one run; axis={self.axis!r} is not "
                f"that for samples of {dimensions} axes.",
                suggestion="Axis 0 is the batch; axis=-1 are the channels.",
            )
        return len(places)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.layer_norm(
            x,
            ctx.use(self.gamma),
            ctx.use(self.beta),
            epsilon=self.epsilon,
            axes=self.last_axes(x.ndim - 1),
        )


@dataclass(eq=False)
class GroupNormalization(Normalizing):
    """Normalise each sample by groups of its channels, over all pixels.

    `groups` must divide the channels; -1 stands for as many groups as channels, which is instance
    normalisation. `axis` is the last one (Wu and He, 2018, arXiv:1803.08494).
    """

    groups: int = 32
    axis: int = -1
    epsilon: float = 1e-3
    center: bool = True
    scale: bool = True
    beta_initializer: InitializerLike = "zeros"
    gamma_initializer: InitializerLike = "ones"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_integer(self.axis, "GroupNormalization")
        if type(self.groups) is not int or (self.groups < 1 and self.groups != -1):
            raise UsageError(
                f"GroupNormalization: groups must be a positive integer or -1, not {self.groups!r}."
            )

    def build(self, shape: Shape) -> Shape:
        channels = require_last_axis(shape, self.axis, "GroupNormalization")
        if channels % self.groups:
            raise ShapeError(
                f"{channels} channels cannot be divided into {self.groups} groups.",
                suggestion="Choose a divisor of the channels, or -1: one group per channel.",
            )
        self.add_gain_and_offset((channels,))
        return shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Saved]:
        return ctx.ops.group_norm(
            x,
            ctx.use(self.gamma),
            ctx.use(self.beta),
            groups=x.shape[-1] if self.groups == -1 else self.groups,
            epsilon=self.epsilon,
        )


def require_integer(axis: Any, layer: str) -> None:
    if type(axis) is not int:
        raise UsageError(f"{layer}: axis must be an integer, not {axis!r}.")


def require_last_axis(shape: Shape, axis: int, layer: str) -> int:
    """Check that `axis`, which counts the batch as axis 0, is the last one; return its size."""
    if not shape:
        raise ShapeError(f"{layer} expects an axis of channels, got a scalar.")
    if axis not in (-1, len(shape)):
        raise ShapeError(
            f"{layer} works on the last axis, the channels; axis={axis} is another one of "
            f"{('N', *shape)}.",
            suggestion="Leave axis at -1.",
        )
    return shape[-1]
