"""What is computed: one file per family, each op's plain definition on the array API standard."""

from __future__ import annotations

from .activations import Activation
from .convolution import Conv2D
from .cross_entropy import SoftmaxCrossEntropy
from .dense import Dense
from .dropout import Dropout
from .input_stage import InputStage
from .merge import Add, Concat
from .normalization import BatchNorm
from .pooling import AveragePool, GlobalAveragePool, GlobalMaxPool, MaxPool
from .table import Table
from .updates import AdamUpdate, AllFinite, AverageUpdate, GradientScale, SGDUpdate

REFERENCE: Table = {
    "conv2d": (Conv2D,),
    "dense": (Dense,),
    "max_pool": (MaxPool,),
    "average_pool": (AveragePool,),
    "global_average_pool": (GlobalAveragePool,),
    "global_max_pool": (GlobalMaxPool,),
    "batch_norm": (BatchNorm,),
    "activation": (Activation,),
    "dropout": (Dropout,),
    "add": (Add,),
    "concat": (Concat,),
    "softmax_cross_entropy": (SoftmaxCrossEntropy,),
    "sgd_update": (SGDUpdate,),
    "adam_update": (AdamUpdate,),
    "gradient_scale": (GradientScale,),
    "all_finite": (AllFinite,),
    "average_update": (AverageUpdate,),
    "input_stage": (InputStage,),
}
