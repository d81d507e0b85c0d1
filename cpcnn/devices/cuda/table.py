"""Which implementations the GPU has for each op, in the order in which they are asked."""

from __future__ import annotations

from ...ops.table import Table
from .augmented_input import FusedAugmentedInput
from .convolution import Im2colConv2D, PointwiseConv2D
from .cross_entropy import WarpCrossEntropy
from .dense import MatmulDense
from .depthwise import DepthwiseConv2D
from .dropout import CountedDropout
from .elementwise import OnePassActivation
from .image_filters import BlockMeanColour, TabledFilterImages
from .input_stage import FusedInputStage
from .normalization import FusedBatchNorm
from .pooling import GlobalAveragePool, GlobalMaxPool, WindowAveragePool, WindowMaxPool
from .updates import (
    FusedAdamUpdate,
    FusedAverageUpdate,
    FusedSGDUpdate,
    OnePassAllFinite,
    TwoStageGradientScale,
)

FAST: Table = {
    "activation": (OnePassActivation,),
    "conv2d": (PointwiseConv2D, DepthwiseConv2D, Im2colConv2D),
    "dense": (MatmulDense,),
    "batch_norm": (FusedBatchNorm,),
    "max_pool": (WindowMaxPool,),
    "average_pool": (WindowAveragePool,),
    "global_average_pool": (GlobalAveragePool,),
    "global_max_pool": (GlobalMaxPool,),
    "dropout": (CountedDropout,),
    "softmax_cross_entropy": (WarpCrossEntropy,),
    "sgd_update": (FusedSGDUpdate,),
    "adam_update": (FusedAdamUpdate,),
    "average_update": (FusedAverageUpdate,),
    "gradient_scale": (TwoStageGradientScale,),
    "all_finite": (OnePassAllFinite,),
    "input_stage": (FusedInputStage,),
    "augmented_input": (FusedAugmentedInput,),
    "filter_images": (TabledFilterImages,),
    "mean_colour": (BlockMeanColour,),
}
