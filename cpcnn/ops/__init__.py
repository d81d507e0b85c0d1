"""What is computed: one file per family, each op's plain definition on the array API standard."""

from __future__ import annotations

from .activations import Activation
from .augmented_input import AugmentedInput
from .binary_cross_entropy import BinaryFocalCrossEntropy, SigmoidFocalCrossEntropy
from .conv2d_transpose import Conv2DTranspose
from .convolution import Conv2D
from .cross_entropy import SoftmaxCrossEntropy
from .dense import Dense
from .dropout import Dropout
from .focal import FocalCrossEntropy, SoftmaxFocalCrossEntropy
from .image_filters import FilterImages, MeanColour
from .input_stage import InputStage
from .merge import Add, Concat, Maximum, Multiply
from .normalization import BatchNorm
from .pooling import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from .sample_normalization import GroupNorm, LayerNorm
from .squared_error import MeanSquaredError
from .table import Table
from .unfused import UnfusedBatchNorm, UnfusedConv2D, UnfusedDense
from .updates import (
    AdamUpdate,
    AllFinite,
    AverageUpdate,
    ClipGradient,
    GradientScale,
    LambUpdate,
    NadamUpdate,
    RMSpropUpdate,
    SGDUpdate,
)

REFERENCE: Table = {
    "conv2d": (UnfusedConv2D, Conv2D),
    "conv2d_transpose": (Conv2DTranspose,),
    "dense": (UnfusedDense, Dense),
    "max_pool": (MaxPool,),
    "average_pool": (AveragePool,),
    "global_average_pool": (GlobalAveragePool,),
    "global_max_pool": (GlobalMaxPool,),
    "batch_norm": (UnfusedBatchNorm, BatchNorm),
    "layer_norm": (LayerNorm,),
    "group_norm": (GroupNorm,),
    "activation": (Activation,),
    "dropout": (Dropout,),
    "add": (Add,),
    "multiply": (Multiply,),
    "maximum": (Maximum,),
    "concat": (Concat,),
    "softmax_cross_entropy": (SoftmaxCrossEntropy,),
    "softmax_focal_cross_entropy": (SoftmaxFocalCrossEntropy,),
    "focal_cross_entropy": (FocalCrossEntropy,),
    "sigmoid_focal_cross_entropy": (SigmoidFocalCrossEntropy,),
    "binary_focal_cross_entropy": (BinaryFocalCrossEntropy,),
    "mean_squared_error": (MeanSquaredError,),
    "sgd_update": (SGDUpdate,),
    "adam_update": (AdamUpdate,),
    "nadam_update": (NadamUpdate,),
    "rmsprop_update": (RMSpropUpdate,),
    "lamb_update": (LambUpdate,),
    "clip_gradient": (ClipGradient,),
    "gradient_scale": (GradientScale,),
    "all_finite": (AllFinite,),
    "average_update": (AverageUpdate,),
    "input_stage": (InputStage,),
    "augmented_input": (AugmentedInput,),
    "filter_images": (FilterImages,),
    "mean_colour": (MeanColour,),
}
