"""Early stopping, epoch by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from cpcnn.callbacks import EarlyStopping
from cpcnn.callbacks.monitor import Monitor
from cpcnn.core.errors import UsageError
from cpcnn.models import History, Sequential
from cpcnn.optimizers import SGD
from cpcnn.training import EpochEnded, TrainingEnded

Fit = Callable[..., History]


@pytest.mark.parametrize(
    ("losses", "options", "epochs"),
    [
        ([5, 4, 3, 2], {}, 4),
        ([5, 4, 4, 2], {}, 3),
        ([5, 4, 4, 2], {"patience": 1}, 3),
        ([5, 4, 4, 2], {"patience": 2}, 4),
        ([5, 4, 6, 5, 4, 3], {"patience": 3}, 5),
        ([5, 4, 6, 5, 3, 3, 3, 3, 2], {"patience": 3}, 8),
        ([5, 4.9, 4.8, 4.7, 4], {"min_delta": 0.5, "patience": 3}, 4),
        ([5, 4.9, 4.8, 4.7, 4], {"min_delta": -0.5, "patience": 3}, 4),
        ([9, 1, 2, 3, 4], {"start_from_epoch": 2}, 4),
        ([5, 6, 7], {"mode": "max"}, 3),
        ([5, 6, 6, 7], {"mode": "max"}, 3),
        ([5, 4, 4, 3], {"monitor": "val_recall"}, 3),
        ([5, 4, 4, 3], {"monitor": "val_accuracy", "mode": "max"}, 3),
        ([5, 4, 3], {"monitor": "val_accuracy", "mode": "min"}, 2),
        ([5, 4, 4, 3, 3, 3], {"baseline": 3.5, "patience": 2}, 3),
        ([5, 4, 3, 3, 3], {"baseline": 3.5, "patience": 2}, 5),
    ],
)
def test_when_it_stops(fit: Fit, losses: list[float], options: Any, epochs: int) -> None:
    ended: list[TrainingEnded] = []
    stopping = EarlyStopping(**options)
    history = fit(
        [float(loss) for loss in losses],
        stopping,
        lambda event: ended.append(event) if isinstance(event, TrainingEnded) else None,
    )
    assert len(history.epoch) == epochs
    assert ended[0].reason == ("stopped" if epochs < len(losses) else "finished")


def test_what_is_not_defined_is_never_better() -> None:
    for mode in ("min", "max"):
        monitor = Monitor("recall", mode)
        assert not monitor.is_better(math.nan, None)
        assert not monitor.is_better(math.nan, 0.5)
        assert monitor.is_better(0.5, None)


@pytest.mark.parametrize(
    ("losses", "best"), [([3, 1, 2, 2, 1], 1), ([3, 2, 1], 2), ([1, 2, 3, 4], 0)]
)
@pytest.mark.parametrize("ema", [False, True])
def test_it_brings_the_best_weights_back(
    fit: Fit, model: Sequential, losses: list[float], best: int, ema: bool
) -> None:
    """Those that validation saw: of an average, the average."""
    weights = []
    model.compile(SGD(0.1, use_ema=ema, ema_momentum=0.5), metrics=["recall"])

    def keep(event: Any) -> None:
        if isinstance(event, EpochEnded):
            store = model.store
            assert model.optimizer is not None
            with model.optimizer.averaged(store):
                weights.append(store.get_weights())

    stopping = EarlyStopping(patience=2, restore_best_weights=True)
    fit([float(loss) for loss in losses], stopping, keep)
    assert stopping.best_epoch == best
    assert stopping.best == min(losses)
    for path, value in model.store.get_weights().items():
        assert np.array_equal(value, weights[best][path]), path
    assert not np.array_equal(weights[0]["dense.kernel"], weights[1]["dense.kernel"])


def test_it_can_be_used_again_and_say_what_it_did(
    fit: Fit, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = EarlyStopping(verbose=1, restore_best_weights=True)
    for _ in range(2):
        assert fit([2.0, 1.0, 3.0, 0.0], stopping).epoch == [0, 1, 2]
        assert stopping.stopped_epoch == 2
        assert capsys.readouterr().out.splitlines() == [
            "Epoch 3: early stopping",
            "Restoring weights of epoch 2",
        ]
    fit([2.0, 1.0], stopping)
    assert stopping.stopped_epoch == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"monitor": "val_precision"}, "'val_precision'"),
        ({"monitor": "nonsense"}, "val_loss"),
        ({"mode": "best"}, "auto, min, max"),
        ({"patience": -1}, "patience"),
        ({"start_from_epoch": -1}, "start_from_epoch"),
        ({"patience": "5"}, "patience"),
        ({"min_delta": "5"}, "min_delta"),
        ({"baseline": "5"}, "baseline"),
        ({"monitor": 3}, "monitor"),
    ],
)
def test_what_cannot_be_meant(fit: Fit, options: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        fit([1.0], EarlyStopping(**options))
    assert words in f"{caught.value.message} {caught.value.suggestion}"


def test_without_validation_there_is_nothing_to_watch(
    model: Sequential, task: tuple[Any, Any]
) -> None:
    with pytest.raises(UsageError, match="'val_loss'") as caught:
        model.fit(*task, callbacks=[EarlyStopping()], verbose=0)
    assert "loss, accuracy, recall, learning_rate" in str(caught.value.suggestion)
    assert "pass validation_data" in str(caught.value.suggestion)
    model.fit(*task, callbacks=[EarlyStopping("loss")], verbose=0)


def test_a_table_cannot_be_watched(model: Sequential, task: tuple[Any, Any]) -> None:
    model.compile(metrics=["confusion_matrix"])
    with pytest.raises(UsageError, match="not a number"):
        model.fit(*task, callbacks=[EarlyStopping("confusion_matrix")], verbose=0)
