"""Which compiled implementations the CPU device has. Importing this needs Numba."""

from __future__ import annotations

from ...ops.table import Table
from .augmented_input import CompiledAugmentedInput, CompiledFilterImages, CompiledMeanColour
from .convolution import DepthwiseConv2D, GatherConv2D, WinogradConv2D
from .dense import CompiledDense
from .dropout import DrawnDropout
from .elementwise import CompiledAdd, ParallelActivation
from .input_stage import CompiledInputStage
from .loss import RowwiseCrossEntropy
from .normalization import CompiledBatchNorm
from .pooling import (
    CompiledAveragePool,
    CompiledGlobalAveragePool,
    CompiledGlobalMaxPool,
    CompiledMaxPool,
)
from .updates import (
    FlatAdamUpdate,
    FlatAverageUpdate,
    FlatClipGradient,
    FlatGradientScale,
    FlatNadamUpdate,
    FlatRMSpropUpdate,
    FlatSGDUpdate,
)

COMPILED: Table = {
    "conv2d": (WinogradConv2D, DepthwiseConv2D, GatherConv2D),
    "dense": (CompiledDense,),
    "max_pool": (CompiledMaxPool,),
    "average_pool": (CompiledAveragePool,),
    "global_average_pool": (CompiledGlobalAveragePool,),
    "global_max_pool": (CompiledGlobalMaxPool,),
    "batch_norm": (CompiledBatchNorm,),
    "activation": (ParallelActivation,),
    "add": (CompiledAdd,),
    "sgd_update": (FlatSGDUpdate,),
    "adam_update": (FlatAdamUpdate,),
    "nadam_update": (FlatNadamUpdate,),
    "rmsprop_update": (FlatRMSpropUpdate,),
    "clip_gradient": (FlatClipGradient,),
    "gradient_scale": (FlatGradientScale,),
    "average_update": (FlatAverageUpdate,),
    "softmax_cross_entropy": (RowwiseCrossEntropy,),
    "dropout": (DrawnDropout,),
    "input_stage": (CompiledInputStage,),
    "augmented_input": (CompiledAugmentedInput,),
    "filter_images": (CompiledFilterImages,),
    "mean_colour": (CompiledMeanColour,),
}
