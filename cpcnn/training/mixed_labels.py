"""The labels of a batch whose images may be mixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.context import Context
from ..losses import Loss
from ..losses.mixed import MixedLoss
from .input_stage import BatchLike, changes_of


def labels_to_learn(loss: Loss, ctx: Context, batch: BatchLike) -> tuple[Loss, NDArray[np.int64]]:
    """Return the loss of a batch, and the class index (N,) of each image on the host.

    Of images that are mixed it is the one that counts most, so that accuracy asks which image is
    mostly seen; the loss then also knows the other one.
    """
    changes = changes_of(batch)
    if changes is None or changes.mix is None:
        return loss, batch.labels
    mix, labels = changes.mix, batch.labels
    others = labels[mix.partner]
    own = mix.weight >= 0.5
    weight = np.where(own, mix.weight, 1 - mix.weight)
    put = ctx.device.put
    known = mix.mixed_labels(labels)
    return MixedLoss(loss, put(np.where(own, others, labels)), put(weight)), known
