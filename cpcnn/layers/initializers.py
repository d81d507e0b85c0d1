"""How parameters start: functions of a shape and a random stream, with Keras' names.

Layers take them as words (`"he_normal"`) and as objects (`HeNormal(seed=1)`). Values are float32
and depend on the stream and the shape alone. A model gives every parameter a stream of its own,
so that one initializer, with a `seed` or without, starts two layers differently.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.options import check_number, check_seed
from ..core.random import Philox
from ..core.typing import Shape
from .base import snake_case

LARGEST = float(np.finfo(np.float32).max)  # parameters are float32
# the standard deviation of a standard normal that is cut off at ±2
TRUNCATED_DEVIATION = 0.87962566103423978

MODES = ("fan_in", "fan_out", "fan_avg")
DISTRIBUTIONS = ("truncated_normal", "untruncated_normal", "uniform")


@dataclass(frozen=True)
class Initializer:
    """A rule for the initial values of a parameter: `initializer(shape, rng)`, float32.

    A rule of one's own is a frozen dataclass derived from this, with `__call__`; its fields are
    what a checkpoint stores, once `register_initializer` made the class known.
    """

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        raise NotImplementedError


class RandomInitializer(Initializer):
    """A rule that draws numbers, from the model's seed or from a `seed` of its own."""

    seed: int | None

    def __post_init__(self) -> None:
        check_seed(self)

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return self.draw(shape, rng if self.seed is None else replace(rng, seed=self.seed))

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        raise NotImplementedError


T = TypeVar("T", bound=type[Initializer])
InitializerLike: TypeAlias = str | Initializer
INITIALIZERS: dict[str, type[Initializer]] = {}  # by the name of the class


def register_initializer(kind: T) -> T:
    """Make an initializer known to layers and checkpoints by its name (a class decorator)."""
    known = INITIALIZERS.setdefault(kind.__name__, kind)
    if known is not kind:
        raise UsageError(f"an initializer named {kind.__name__!r} is registered already.")
    return kind


def get_initializer(initializer: InitializerLike) -> Initializer:
    """Return an initializer by name ("he_normal", "HeNormal"), or the one that is given.

    UsageError lists the known names.
    """
    if isinstance(initializer, Initializer):
        return initializer
    for name, kind in INITIALIZERS.items():
        if isinstance(initializer, str) and initializer in (name, snake_case(name)):
            return kind()
    known = ", ".join(sorted(snake_case(name) for name in INITIALIZERS))
    raise UsageError(
        f"there is no initializer named {initializer!r}.",
        suggestion=f"Known initializers: {known}; or give an object, such as HeNormal(seed=1).",
    )


def fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs of a unit, as Keras counts them from a kernel's shape.

    (F, U) of a dense kernel and (KH * KW * Cin, KH * KW * Cout) of a convolution. Of a depthwise
    kernel (KH, KW, C, M) it is (KH * KW * C, KH * KW * M), although a unit sees one channel.
    A vector counts as its own inputs and outputs, a scalar as one.
    """
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


@register_initializer
@dataclass(frozen=True)
class Zeros(Initializer):
    """All zeros."""

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return np.zeros(shape, np.float32)


@register_initializer
@dataclass(frozen=True)
class Ones(Initializer):
    """All ones."""

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return np.ones(shape, np.float32)


@register_initializer
@dataclass(frozen=True)
class Constant(Initializer):
    """One number everywhere."""

    value: float = 0.0

    def __post_init__(self) -> None:
        check_number(self, "value", least=-LARGEST, most=LARGEST)

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return np.full(shape, self.value, np.float32)


@register_initializer
@dataclass(frozen=True)
class Identity(Initializer):
    """`gain` on the diagonal of a matrix, zeros elsewhere. UsageError for any other shape."""

    gain: float = 1.0

    def __post_init__(self) -> None:
        check_number(self, "gain", least=-LARGEST, most=LARGEST)

    def __call__(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        if len(shape) != 2:
            raise UsageError(f"Identity is for matrices, not for a parameter of shape {shape}.")
        return np.eye(*shape, dtype=np.float32) * np.float32(self.gain)


@register_initializer
@dataclass(frozen=True)
class RandomNormal(RandomInitializer):
    """Normal numbers of a mean and a standard deviation."""

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "mean", least=-LARGEST, most=LARGEST)
        check_number(self, "stddev", least=0, most=LARGEST)

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return np.float32(self.mean) + rng.normal(shape) * np.float32(self.stddev)


@register_initializer
@dataclass(frozen=True)
class RandomUniform(RandomInitializer):
    """Uniform numbers between `minval` and `maxval`."""

    minval: float = -0.05
    maxval: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "minval", least=-LARGEST, most=LARGEST)
        check_number(self, "maxval", least=self.minval, most=LARGEST)

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        unit = _unit(shape, rng).astype(np.float64)
        return (self.minval + unit * (self.maxval - self.minval)).astype(np.float32)


@register_initializer
@dataclass(frozen=True)
class TruncatedNormal(RandomInitializer):
    """Normal numbers, those beyond two `stddev` from the mean drawn again.

    As in Keras `stddev` is that of the normal; that of what is left is 0.88 times as large.
    """

    mean: float = 0.0
    stddev: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "mean", least=-LARGEST, most=LARGEST)
        check_number(self, "stddev", least=0, most=LARGEST)

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return np.float32(self.mean) + _truncated(shape, rng) * np.float32(self.stddev)


@register_initializer
@dataclass(frozen=True)
class VarianceScaling(RandomInitializer):
    """Numbers of variance scale / n, where n is the fan that `mode` names.

    `mode` is "fan_in", "fan_out" or "fan_avg", their mean; `distribution` is "truncated_normal",
    "untruncated_normal" or "uniform". The truncated normal is widened, so that its variance is
    what was asked for.
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "scale", least=0, most=LARGEST)
        for option, known in (("mode", MODES), ("distribution", DISTRIBUTIONS)):
            if getattr(self, option) not in known:
                raise UsageError(
                    f"VarianceScaling: {option} must be one of {', '.join(known)}, "
                    f"not {getattr(self, option)!r}."
                )

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1, fan)
        if self.distribution == "uniform":
            return _symmetric(shape, rng, math.sqrt(3 * variance))
        if self.distribution == "untruncated_normal":
            return rng.normal(shape) * np.float32(math.sqrt(variance))
        return _truncated(shape, rng) * np.float32(math.sqrt(variance) / TRUNCATED_DEVIATION)


@register_initializer
@dataclass(frozen=True)
class GlorotUniform(RandomInitializer):
    """Uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(1.0, "fan_avg", "uniform")(shape, rng)


@register_initializer
@dataclass(frozen=True)
class GlorotNormal(RandomInitializer):
    """Truncated normal of variance 2 / (fan_in + fan_out) (Glorot and Bengio, AISTATS 2010)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(1.0, "fan_avg")(shape, rng)


@register_initializer
@dataclass(frozen=True)
class HeUniform(RandomInitializer):
    """Uniform in ±sqrt(6 / fan_in) (He et al., 2015, arXiv:1502.01852)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(2.0, "fan_in", "uniform")(shape, rng)


@register_initializer
@dataclass(frozen=True)
class HeNormal(RandomInitializer):
    """Truncated normal of variance 2 / fan_in (He et al., 2015, arXiv:1502.01852)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(2.0)(shape, rng)


@register_initializer
@dataclass(frozen=True)
class LecunUniform(RandomInitializer):
    """Uniform in ±sqrt(3 / fan_in) (LeCun et al., "Efficient BackProp", 1998)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(1.0, "fan_in", "uniform")(shape, rng)


@register_initializer
@dataclass(frozen=True)
class LecunNormal(RandomInitializer):
    """Truncated normal of variance 1 / fan_in (LeCun et al., "Efficient BackProp", 1998)."""

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return VarianceScaling(1.0)(shape, rng)


@register_initializer
@dataclass(frozen=True)
class FanInUniform(RandomInitializer):
    """Uniform in ±1 / sqrt(fan_in), the default of PyTorch's layers; Keras has no name for it.

    Its small weights leave an adaptive optimizer large relative steps, which generalises better
    under batch normalisation than He's variance, six times as large.
    """

    seed: int | None = None

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        return _symmetric(shape, rng, 1.0 / math.sqrt(max(1, fans(shape)[0])))


@register_initializer
@dataclass(frozen=True)
class Orthogonal(RandomInitializer):
    """`gain` times a matrix whose rows or columns, the fewer, are orthonormal.

    All axes but the last are the matrix' rows (Saxe et al., 2013, arXiv:1312.6120). UsageError
    for fewer than two axes. The factorisation is LAPACK's, whose roundings differ by machine.
    """

    gain: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number(self, "gain", least=-LARGEST, most=LARGEST)

    def draw(self, shape: Shape, rng: Philox) -> NDArray[Any]:
        if len(shape) < 2:
            raise UsageError(f"Orthogonal needs two axes or more, a parameter has shape {shape}.")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        normal = rng.normal((max(rows, columns), min(rows, columns))).astype(np.float64)
        q, r = np.linalg.qr(normal)
        # signs that do not depend on the algorithm: every rotation is as likely as the others
        q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
        matrix = q.T if rows < columns else q
        return (self.gain * matrix).reshape(shape).astype(np.float32)


def _unit(shape: Shape, rng: Philox) -> NDArray[np.float32]:
    """Uniform numbers in [0, 1)."""
    size = math.prod(shape)
    draws = rng.uniform(np.arange((size + 3) // 4), draws=4)
    return draws.reshape(-1)[:size].reshape(shape)


def _symmetric(shape: Shape, rng: Philox, limit: float) -> NDArray[Any]:
    return (_unit(shape, rng) * 2 - 1) * np.float32(limit)


def _truncated(shape: Shape, rng: Philox) -> NDArray[np.float32]:
    """Standard normal numbers within ±2: the k-th one outside is the next stream's k-th number."""
    values = rng.normal((math.prod(shape),))
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        rng = rng.child("again")
        values[outside] = rng.normal(outside.shape)
        outside = outside[np.abs(values[outside]) > 2]
    return values.reshape(shape)
