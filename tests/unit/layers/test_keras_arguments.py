"""Arguments of the geometry layers: Keras' names, order and defaults, and `data_format`."""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.layers import (
    AveragePooling2D,
    Conv2D,
    Conv2DTranspose,
    Cropping2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    GlobalAveragePooling2D,
    GlobalMaxPooling2D,
    Layer,
    MaxPooling2D,
    Permute,
    Reshape,
    SeparableConv2D,
    UpSampling2D,
    ZeroPadding2D,
    from_config,
    to_config,
)

REQUIRED = MISSING
POOLING = {"pool_size": (2, 2), "strides": None, "padding": "valid", "data_format": None}
GLOBAL_POOLING = {"data_format": None, "keepdims": False}
BIAS = {"bias_initializer": "zeros"}
ACTIVATION = {"activation": None, "use_bias": True}
KERNEL = {"kernel_initializer": "glorot_uniform"}
DEPTHWISE = {"depthwise_initializer": "glorot_uniform"}
POINTWISE = {"pointwise_initializer": "glorot_uniform"}
SIZES = {"kernel_size": REQUIRED, "strides": (1, 1), "padding": "valid"}
FILTERS = {"filters": REQUIRED}
DILATION = {"data_format": None, "dilation_rate": (1, 1)}
MULTIPLIER = {"depth_multiplier": 1}

# as Keras 3 lists them, without regularizers and constraints
KERAS: dict[type[Layer], dict[str, Any]] = {
    Conv2D: {**FILTERS, **SIZES, **DILATION, "groups": 1, **ACTIVATION, **KERNEL, **BIAS},
    DepthwiseConv2D: {**SIZES, **MULTIPLIER, **DILATION, **ACTIVATION, **DEPTHWISE, **BIAS},
    SeparableConv2D: {
        **FILTERS, **SIZES, **DILATION, **MULTIPLIER, **ACTIVATION, **DEPTHWISE, **POINTWISE, **BIAS
    },
    Conv2DTranspose: {**FILTERS, **SIZES, **DILATION, **ACTIVATION, **KERNEL, **BIAS},
    Dense: {"units": REQUIRED, **ACTIVATION, **KERNEL, **BIAS},
    MaxPooling2D: POOLING,
    AveragePooling2D: POOLING,
    GlobalAveragePooling2D: GLOBAL_POOLING,
    GlobalMaxPooling2D: GLOBAL_POOLING,
    ZeroPadding2D: {"padding": (1, 1), "data_format": None},
    Cropping2D: {"cropping": ((0, 0), (0, 0)), "data_format": None},
    UpSampling2D: {"size": (2, 2), "data_format": None, "interpolation": "nearest"},
    Flatten: {"data_format": None},
    Reshape: {"target_shape": REQUIRED},
    Permute: {"dims": REQUIRED},
}  # fmt: skip

CHANNELS_LAST: dict[type[Layer], tuple[Any, ...]] = {
    Conv2D: (2, 3),
    DepthwiseConv2D: (3,),
    SeparableConv2D: (2, 3),
    Conv2DTranspose: (2, 3),
    MaxPooling2D: (),
    AveragePooling2D: (),
    GlobalAveragePooling2D: (),
    GlobalMaxPooling2D: (),
    ZeroPadding2D: (),
    Cropping2D: (),
    UpSampling2D: (),
    Flatten: (),
}


@pytest.mark.parametrize("kind", KERAS, ids=lambda kind: kind.__name__)
def test_arguments_are_those_of_keras(kind: Any) -> None:
    found = {item.name: item.default for item in fields(kind) if item.init and not item.kw_only}
    assert list(found.items()) == list(KERAS[kind].items())


def test_output_padding_goes_by_name_as_in_keras() -> None:
    assert Conv2DTranspose(2, 3, 2, output_padding=1).output_padding == (1, 1)


@pytest.mark.parametrize("kind", CHANNELS_LAST, ids=lambda kind: kind.__name__)
def test_images_are_channels_last(kind: Any) -> None:
    options = CHANNELS_LAST[kind]
    assert "data_format" not in to_config(kind(*options))["config"]
    said = kind(*options, data_format="channels_last")
    assert to_config(from_config(to_config(said))) == to_config(said)
    assert said.build((8, 7, 6)) == kind(*options).build((8, 7, 6))
    for other in ("channels_first", "NHWC", 1):
        with pytest.raises(UsageError) as caught:
            kind(*options, data_format=other)
        for word in (kind.__name__, "data_format", repr(other), "(height, width, channels)"):
            assert word in str(caught.value)


@pytest.mark.parametrize("kind", [GlobalAveragePooling2D, GlobalMaxPooling2D])
def test_keepdims_keeps_the_axes_of_pixels(kind: Any) -> None:
    assert kind().build((4, 5, 3)) == (3,)
    assert kind(keepdims=True).build((4, 5, 3)) == (1, 1, 3)


@pytest.mark.parametrize(
    "make", [Dense, lambda n: Conv2D(n, 3), lambda n: SeparableConv2D(n, 3, depth_multiplier=n)]
)
def test_numpy_may_have_counted(make: Any) -> None:
    counted = to_config(make(np.int64(4)))
    assert json.dumps(counted) == json.dumps(to_config(make(4)))
