"""The arguments of fit, and training more than once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cpcnn.core.errors import UsageError
from cpcnn.core.random import Philox
from cpcnn.layers import BatchNormalization, Conv2D, Dense, Dropout, Flatten, Input
from cpcnn.losses import CategoricalCrossentropy, categorical_crossentropy
from cpcnn.metrics import Recall
from cpcnn.models import Sequential
from cpcnn.optimizers import SGD, Adam
from cpcnn.schedules import CosineDecay, ReduceOnPlateau
from cpcnn.training import EpochEnded, StepEnded

SHAPE = (5, 5, 1)


def task(count: int = 40) -> tuple[Any, Any]:
    labels = np.arange(count) % 2
    noise = Philox(0, "task").normal((count, *SHAPE))
    return noise + labels[:, None, None, None], labels


def network(optimizer: Any = "sgd", loss: Any = "categorical_crossentropy") -> Sequential:
    layers = [Conv2D(3, 3, use_bias=False), BatchNormalization(activation="relu"), Dropout(0.2)]
    model = Sequential([Input(SHAPE), *layers, Flatten(), Dense(2, activation="softmax")])
    model.to("numpy")
    model.compile(optimizer, loss)
    return model


def same(a: Sequential, b: Sequential) -> bool:
    first, second = a.store.get_weights(), b.store.get_weights()
    return all(np.array_equal(first[path], second[path]) for path in first)


# --- arguments --------------------------------------------------------------------------------


def test_arguments_are_in_the_order_of_keras() -> None:
    x, y = task()
    seen: list[Any] = []
    by_position, by_name = network(), network()
    weights = {0: 2.0, 1: 0.5}
    history = by_position.fit(
        x[:30], y[:30], 8, 2, 0, seen.append, 0.0, (x[30:], y[30:]), False, weights
    )
    again = by_name.fit(
        x[:30], y=y[:30], batch_size=8, epochs=2, verbose=0, callbacks=[seen.append],
        validation_data=(x[30:], y[30:]), shuffle=False, class_weight=weights,
    )  # fmt: skip
    assert history == again
    assert same(by_position, by_name)
    assert sum(isinstance(event, EpochEnded) for event in seen) == 4


def test_things_by_name_object_and_class_are_the_same() -> None:
    x, y = task()
    results = []
    for optimizer, loss, metrics in (
        ("adam", "categorical_crossentropy", ["recall"]),
        (Adam(), categorical_crossentropy, Recall()),
        (Adam, CategoricalCrossentropy, Recall),
    ):
        model = network()
        model.compile(optimizer, loss, metrics)
        model.fit(x, y, verbose=0)
        results.append(model.evaluate(x, y, verbose=0))
        assert model.metrics_names == ["loss", "recall"]
    assert results[0] == results[1] == results[2]


def test_the_split_takes_the_end_of_the_arrays() -> None:
    x, y = task()
    split, given = network(), network()
    found = split.fit(x, y, verbose=0, validation_split=0.3)
    expected = given.fit(x[:28], y[:28], verbose=0, validation_data=(x[28:], y[28:]))
    assert found == expected
    assert same(split, given)


def test_without_a_shuffle_batches_come_in_order() -> None:
    x, y = task()
    order = Philox(0, "shuffle", 0).permutation(40)
    shuffled, ordered = network(), network()
    shuffled.fit(x, y, 8, verbose=0)
    ordered.fit(x[order], y[order], 8, verbose=0, shuffle=False)
    assert same(shuffled, ordered)


def test_class_weights_multiply_the_losses_of_training_alone() -> None:
    x, y = task()
    plain, weighted = network(SGD(1e-30)), network(SGD(1e-30))
    weights = {1: 3.0}  # the other class counts 1
    expected = plain.fit(x, y, 40, verbose=0, validation_data=(x, y)).history
    found = weighted.fit(x, y, 40, verbose=0, validation_data=(x, y), class_weight=weights).history
    assert found["val_loss"] == expected["val_loss"]
    only = [
        network(SGD(1e-30)).fit(x, y, 40, verbose=0, class_weight={other: 0.0}).history["loss"][0]
        for other in (1, 0)
    ]
    assert expected["loss"][0] == pytest.approx(sum(only), rel=1e-5)
    assert found["loss"][0] == pytest.approx(only[0] + 3 * only[1], rel=1e-5)


def test_the_seed_draws_the_weights_too() -> None:
    x, y = task()
    models = [network() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        model.compile(SGD(1e-30))
        model.fit(x, y, verbose=0, seed=seed)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    built = network()
    built.build(seed=2)
    kernel = built.store.get_weights()["dense.kernel"]
    assert np.array_equal(kernel, models[2].store.get_weights()["dense.kernel"])


def test_evaluate_prints_unless_told_not_to(capsys: pytest.CaptureFixture[str]) -> None:
    model = network()
    model.compile("sgd", metrics=["accuracy", "confusion_matrix"])
    loss, accuracy, matrix = model.evaluate(*task())
    assert capsys.readouterr().out == f"loss: {loss:.4f} - accuracy: {accuracy:.4f}\n"
    assert np.sum(matrix) == 40
    model.evaluate(*task(), verbose=0)
    assert capsys.readouterr().out == ""


def test_a_model_with_one_output(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = task()
    model = Sequential([Input(SHAPE), Flatten(), Dense(1, activation="sigmoid")])
    model.compile(SGD(0.1), "binary_crossentropy", ["accuracy", "auc"])
    history = model.fit(x, y, epochs=10, validation_data=(x, y)).history
    p = model.predict(x)
    assert p.shape == (40, 1)
    accuracy = ((p[:, 0] > 0.5) == y).mean()
    assert accuracy > 0.8
    assert history["val_accuracy"][-1] == pytest.approx(accuracy)
    assert model.evaluate(x, y, verbose=0)[1] == pytest.approx(accuracy)
    assert "val_auc: 1.0" in capsys.readouterr().out
    assert model.fit(x, y, verbose=0, class_weight={0: 1.0, 1: 2.0}).epoch == [0]


# --- more than once ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", [Adam, lambda: SGD(0.1, momentum=0.9)])
def test_training_again_goes_on(optimizer: Any) -> None:
    x, y = task()
    once, twice, anew = (network(optimizer()) for _ in range(3))
    once.fit(x, y, 8, epochs=2, verbose=0, shuffle=False)
    twice.fit(x, y, 8, verbose=0, shuffle=False)
    twice.fit(x, y, 8, verbose=0, shuffle=False)
    assert same(once, twice)
    anew.fit(x, y, 8, verbose=0, shuffle=False)
    anew.compile(optimizer())
    anew.fit(x, y, 8, verbose=0, shuffle=False)
    assert not same(once, anew)


def test_the_state_of_the_optimizer_moves_with_the_model() -> None:
    x, y = task()
    here, there = network("adam"), network("adam")
    for model in (here, there):
        model.fit(x, y, 8, verbose=0)
    there.to("cpu").to("numpy")
    for model in (here, there):
        model.fit(x, y, 8, verbose=0)
    assert same(here, there)


def test_an_optimizer_may_serve_two_models() -> None:
    """The state is that of the model it trained last; the other one starts anew."""
    x, y = task()
    optimizer = Adam()
    first, second = network(optimizer), Sequential([Flatten(), Dense(2)])
    second.compile(optimizer)
    for model in (first, second, first):
        model.fit(x, y, 8, verbose=0)
    assert optimizer.step == 5


def test_layers_that_are_added_start_the_optimizer_anew() -> None:
    x, y = task()
    model = Sequential([Input(SHAPE), Flatten(), Dense(2)])
    model.compile("adam")
    model.fit(x, y, 8, verbose=0)
    model.add(Dense(2))
    model.fit(x, y, 8, verbose=0)
    assert model.optimizer is not None
    assert model.optimizer.step == 5


def rates(model: Sequential, **options: Any) -> list[float]:
    x, y = task()
    found: list[float] = model.fit(x, y, 40, verbose=0, **options).history["learning_rate"]
    return found


def test_the_optimizers_schedule_goes_on_and_a_named_one_begins_again() -> None:
    schedule = CosineDecay(0.1, 6)
    model = network(SGD(schedule))
    expected = [schedule(step) for step in range(4)]
    assert rates(model, epochs=2) + rates(model, epochs=2) == expected
    with pytest.raises(UsageError, match="schedule of its own"):
        rates(model, schedule="cosine")
    plain = network(SGD(0.1))
    first = rates(plain, epochs=3, schedule="cosine")
    assert first == pytest.approx([0.1, 0.05, 0.0])
    assert rates(plain, epochs=3, schedule="cosine") == first
    assert rates(plain) == [0.1]


def test_a_named_schedule_ends_with_the_last_update() -> None:
    model = network(SGD(0.1, gradient_accumulation_steps=3))
    x, y = task()
    history = model.fit(x, y, 8, epochs=2, verbose=0, schedule="polynomial").history
    assert model.optimizer is not None
    assert model.optimizer.step == 4
    assert history["learning_rate"][-1] == pytest.approx(0.0)


def test_a_plateau_is_watched_by_the_loss_of_validation() -> None:
    x, y = task()
    schedule = ReduceOnPlateau(0.01, patience=1, min_delta=100.0)
    model = network(SGD(schedule))
    assert rates(model, epochs=4, validation_data=(x, y)) == [0.01, 0.01, 0.001, 0.0001]
    assert schedule.best == pytest.approx(model.fit(x, y, verbose=0).history["loss"][0], abs=5)


# --- a learning rate to begin with ------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1])
def test_a_search_for_a_learning_rate_leaves_no_trace(before: int) -> None:
    x, y = task()
    searched, other = (network(Adam(use_ema=True)) for _ in range(2))
    for model in (searched, other):
        model.build()
        for _ in range(before):
            model.fit(x, y, 8, verbose=0)
    found = searched.find_learning_rate(x, y, 8, max_learning_rate=100.0, steps=60)
    assert same(searched, other)
    for model in (searched, other):
        model.fit(x, y, 8, verbose=0)
    assert same(searched, other)
    assert len(found.rates) == len(found.losses) <= 60
    assert found.rates[:2] == pytest.approx([1e-6, 1e-6 * 1e8 ** (1 / 59)])


def test_the_suggestion_is_a_rate_that_learns() -> None:
    x, y = task()
    model = network(SGD())
    found = model.find_learning_rate(x, y, 8, max_learning_rate=1e3)
    assert found.rates[-1] < 1e3  # it ended when the loss rose
    assert 1e-3 < found.suggestion < 1
    history = {}
    for rate in (found.suggestion, found.suggestion / 1000):
        model = network(SGD(rate))
        history[rate] = model.fit(x, y, 8, epochs=3, verbose=0).history["loss"][-1]
    assert history[found.suggestion] < min(history.values()) + 1e-9


def test_a_callback_may_evaluate_while_an_epoch_is_counted() -> None:
    x, y = task()
    curves = []
    for evaluates in (False, True):
        model = network()
        model.compile("sgd", metrics=["recall"])

        def look(event: Any, model: Any = model, evaluates: bool = evaluates) -> None:
            if evaluates and isinstance(event, StepEnded):
                model.evaluate(x[:8], y[:8], verbose=0)

        history = model.fit(x, y, 8, 2, 0, [look], validation_data=(x, y))
        curves.append(history.history)
    assert curves[0] == curves[1]
