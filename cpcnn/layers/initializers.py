"""How parameters start. Each initializer is a function of a shape and a random stream."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.errors import UsageError
from ..core.param import Initializer
from ..core.random import Philox
from ..core.typing import Shape


def fans(shape: Shape) -> tuple[int, int]:
    """Inputs and outputs per unit: (KH * KW * Cin, KH * KW * Cout) of a kernel."""
    receptive = math.prod(shape[:-2])
    return receptive * shape[-2], receptive * shape[-1]


def zeros(shape: Shape, rng: Philox) -> NDArray[Any]:
    return np.zeros(shape, np.float32)


def ones(shape: Shape, rng: Philox) -> NDArray[Any]:
    return np.ones(shape, np.float32)


def glorot_uniform(shape: Shape, rng: Philox) -> NDArray[Any]:
    """Uniform in ±sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio, AISTATS 2010)."""
    return _uniform(shape, rng, math.sqrt(6.0 / sum(fans(shape))))


def fan_in_uniform(shape: Shape, rng: Philox) -> NDArray[Any]:
    """Uniform in ±1 / sqrt(fan_in), the default of PyTorch's layers.

    Its small weights leave an adaptive optimizer large relative steps, which generalises better
    under batch normalisation than He's variance, six times as large.
    """
    return _uniform(shape, rng, 1.0 / math.sqrt(fans(shape)[0]))


def he_uniform(shape: Shape, rng: Philox) -> NDArray[Any]:
    """Uniform in ±sqrt(6 / fan_in) (He et al., 2015, arXiv:1502.01852)."""
    return _uniform(shape, rng, math.sqrt(6.0 / fans(shape)[0]))


def he_normal(shape: Shape, rng: Philox) -> NDArray[Any]:
    """Normal with variance 2 / fan_in (He et al., 2015, arXiv:1502.01852)."""
    return rng.normal(shape) * np.float32(math.sqrt(2.0 / fans(shape)[0]))


def _uniform(shape: Shape, rng: Philox, limit: float) -> NDArray[Any]:
    size = math.prod(shape)
    unit = rng.uniform(np.arange((size + 3) // 4), draws=4).reshape(-1)[:size].reshape(shape)
    return (unit * 2 - 1) * np.float32(limit)


INITIALIZERS: dict[str, Initializer] = {
    "zeros": zeros,
    "ones": ones,
    "glorot_uniform": glorot_uniform,
    "fan_in_uniform": fan_in_uniform,
    "he_uniform": he_uniform,
    "he_normal": he_normal,
}


def get_initializer(name: str) -> Initializer:
    """Look an initializer up by name; UsageError lists the known names."""
    try:
        return INITIALIZERS[name]
    except (KeyError, TypeError):
        raise UsageError(
            f"there is no initializer named {name!r}.",
            suggestion=f"Known initializers: {', '.join(sorted(INITIALIZERS))}.",
        ) from None
