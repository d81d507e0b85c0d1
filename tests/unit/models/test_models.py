"""The Keras-shaped face: building, training, predicting, saving, moving."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cpcnn.callbacks import EarlyStopping
from cpcnn.core.errors import CheckpointError, DataError, DeviceError, ShapeError, UsageError
from cpcnn.core.random import Philox
from cpcnn.data import ArrayDataset, Loader, Preprocessing
from cpcnn.layers import (
    Activation,
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePooling2D,
    MaxPooling2D,
)
from cpcnn.losses import CategoricalCrossentropy
from cpcnn.models import Input, Model, Sequential, load_model
from cpcnn.optimizers import SGD, Adam

SHAPE = (6, 6, 1)


def task(count: int = 40) -> tuple[Any, Any]:
    """Bright or dark images, under noise."""
    labels = np.arange(count) % 2
    noise = Philox(0, "task").normal((count, *SHAPE))
    return noise + 2 * labels[:, None, None, None], labels


def sequential(*, softmax: bool = True) -> Sequential:
    return Sequential(
        [
            Input(SHAPE),
            Conv2D(4, 3, activation="relu"),
            BatchNormalization(momentum=0.8),
            MaxPooling2D(),
            Flatten(),
            Dropout(0.1),
            Dense(2, activation="softmax" if softmax else None),
        ]
    )


def functional() -> Model:
    image = Input(SHAPE)
    a = Conv2D(4, 3, padding="same", activation="relu")(image)
    b = Conv2D(4, 3, padding="same")(a)
    pooled = GlobalAveragePooling2D()(Activation("relu")(Add()([a, b])))
    return Model(image, Dense(2, activation="softmax")(pooled))


def trained(model: Model, device: str = "numpy", **options: Any) -> Model:
    model.to(device)
    model.compile(optimizer=SGD(0.1, momentum=0.9))
    model.fit(*task(), verbose=0, **({"epochs": 8} | options))
    return model


# --- building ---------------------------------------------------------------------------------


def test_a_sequential_model_knows_its_shapes() -> None:
    model = sequential()
    assert model.input_shape == SHAPE
    assert model.output_shape == (2,)
    assert model.num_parameters == (9 * 4 + 4) + 4 * 4 + (16 * 2 + 2)
    assert not Sequential().built


def test_a_functional_model_knows_its_shapes() -> None:
    model = functional()
    assert (model.input_shape, model.output_shape) == (SHAPE, (2,))
    assert model.num_parameters == (9 * 4 + 4) + (9 * 16 + 4) + (4 * 2 + 2)


def test_the_first_layer_may_know_the_input_shape() -> None:
    model = Sequential([Conv2D(4, 3, input_shape=(8, 8, 3)), Flatten(), Dense(2)])
    assert model.output_shape == (2,)


def test_layers_can_be_added_later() -> None:
    model = Sequential()
    model.add(Input(SHAPE))
    model.add(Flatten())
    assert model.output_shape == (36,)
    before = model.store.get_weights()
    assert before == {}
    model.add(Dense(3))
    kernel = model.store.get_weights()["dense.kernel"]
    model.add(Dense(2))
    assert model.output_shape == (2,)
    # what was there keeps its values
    assert np.array_equal(model.store.get_weights()["dense.kernel"], kernel)


def test_the_input_shape_may_come_with_the_data() -> None:
    model = Sequential([Flatten(), Dense(2, activation="softmax")])
    model.compile()
    model.fit(*task(), verbose=0)
    assert model.input_shape == SHAPE
    assert Sequential([Flatten(), Dense(3)]).predict(task()[0]).shape == (40, 3)


def test_shape_errors_come_when_a_layer_is_added() -> None:
    with pytest.raises(ShapeError, match=r"layer 'conv2d_1'.*7×7.*4×4"):
        Sequential([Input(SHAPE), Conv2D(2, 3), Conv2D(2, 7)])


def test_seeds_draw_weights() -> None:
    models = [sequential() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        model.build(seed=seed)
    kernels = [model.store.get_weights()["dense.kernel"] for model in models]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Sequential([Flatten(), Input(SHAPE)]), "first element"),
        (lambda: Sequential([Flatten()(Input(SHAPE))]), "first element"),
        (lambda: Sequential([Input(SHAPE), "dense"]), "'dense'"),
        (lambda: Sequential([Input(SHAPE), Dense]), "Dense"),
        (lambda: Model(Input(SHAPE), Dense(2)), "outputs must be"),
        (lambda: Model(5, Dense(2)(Input(SHAPE))), "inputs must be"),
        (lambda: Model([], Dense(2)(Input(SHAPE))), "got 0"),
        (lambda: Model([Input(SHAPE), Input(SHAPE)], Dense(2)(Input(SHAPE))), "got 2"),
        (lambda: Model(Input(SHAPE), Dense(2)(Input(SHAPE))), "Input that the model was not given"),
        (lambda: Sequential([Flatten()]).summary(), "input shape"),
        (lambda: Sequential([Flatten()]).save("never"), "input shape"),
        (lambda: Sequential(Dense(2)), "a list of layers"),
        (lambda: Sequential([Dense(2, input_shape=6)]), "input_shape must be positive integers"),  # type: ignore[arg-type]
        (lambda: Input((None, None, 3)), "no size can be left open"),  # type: ignore[arg-type]
        (lambda: Input(6), "Input: shape must be positive integers"),  # type: ignore[arg-type]
    ],
)
def test_models_that_cannot_be_built(make: Any, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        make()


# --- one model inside another -------------------------------------------------------------------


def test_a_model_is_a_layer_of_another() -> None:
    inner = Sequential([Input(SHAPE), Conv2D(3, 3, activation="relu"), MaxPooling2D()])
    outer = Sequential([inner, Flatten(), Dense(2, activation="softmax")])
    assert outer.input_shape == SHAPE
    assert [p for p in outer.store.params if "conv2d" in p] == [
        "stack.conv2d.kernel",
        "stack.conv2d.bias",
    ]
    trained(outer)


def test_a_shared_trunk_learns_for_both_models() -> None:
    trunk = Sequential([Input(SHAPE), Conv2D(3, 3, activation="relu"), MaxPooling2D(), Flatten()])
    image = Input(SHAPE)
    one = Model(image, Dense(2, activation="softmax")(trunk(image)))
    x, _ = task()
    features = trunk.predict(x)
    trained(one)
    moved = trunk.predict(x)
    assert not np.allclose(moved, features)
    # both compute with the same weights, whoever is asked first
    kernel = one.store.get_weights()["stack.conv2d.kernel"]
    assert np.array_equal(trunk.store.get_weights()["conv2d.kernel"], kernel)
    before = one.predict(x)
    trained(one, epochs=1)
    assert not np.allclose(one.predict(x), before)


def test_a_model_called_twice_shares_its_weights() -> None:
    tower = Sequential([Input(SHAPE), Flatten(), Dense(3, activation="tanh")])
    left, right = Conv2D(1, 1)(image := Input(SHAPE)), image
    model = Model(image, Dense(2, activation="softmax")(Add()([tower(left), tower(right)])))
    assert model.num_parameters == 2 + (36 * 3 + 3) + (3 * 2 + 2)
    trained(model)


# --- training and use -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_fit_learns(make: Any, device: str) -> None:
    model = trained(make(), device, epochs=20)
    model.compile(metrics=["accuracy"])
    _, accuracy = model.evaluate(*task(), verbose=0)
    assert accuracy > 0.9
    assert model.device.name == device


def test_history_has_one_value_an_epoch() -> None:
    x, y = task()
    model = sequential()
    model.compile(metrics=["recall"])
    history = model.fit(x, y, epochs=3, verbose=0, validation_data=(x[:10], y[:10]))
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == [
        "loss", "accuracy", "recall", "val_loss", "val_accuracy", "val_recall", "learning_rate",
    ]  # fmt: skip
    assert all(len(values) == 3 for values in history.history.values())
    assert history.history["learning_rate"] == [0.001] * 3
    assert "val_loss" not in model.fit(x, y, verbose=0).history


def test_labels_may_be_one_hot() -> None:
    x, y = task()
    weights = []
    for labels in (y, np.eye(2)[y], y[:, None], y.astype(np.uint8)):
        model = trained_on(x, labels)
        weights.append(model.store.get_weights()["dense.kernel"])
    assert all(np.array_equal(weights[0], other) for other in weights[1:])


def trained_on(x: Any, y: Any) -> Model:
    model = sequential()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(x, y, verbose=0)
    return model


def test_a_softmax_at_the_end_or_not_is_the_same_training() -> None:
    x, y = task()
    with_softmax, without = trained(sequential(softmax=True)), trained(sequential(softmax=False))
    assert np.array_equal(
        with_softmax.store.get_weights()["dense.kernel"],
        without.store.get_weights()["dense.kernel"],
    )
    logits = without.predict(x).astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(
        with_softmax.predict(x), odds / odds.sum(1, keepdims=True), atol=1e-6
    )
    assert with_softmax.evaluate(x, y, verbose=0) == without.evaluate(x, y, verbose=0)


def test_logits_of_named_classes_become_probabilities() -> None:
    model = sequential(softmax=False)
    model.classes = ("dark", "bright")
    np.testing.assert_allclose(model.predict(task()[0]).sum(1), 1, rtol=1e-6)


def test_fit_says_a_line_an_epoch(capsys: pytest.CaptureFixture[str]) -> None:
    x, y = task()
    model = sequential()
    model.compile(metrics=["accuracy", "confusion_matrix", "recall"])
    model.fit(x, y, epochs=2, validation_data=(x, y))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert re.fullmatch(
        r"Epoch 2/2 - \d+\.\ds - loss: \d\.\d{4} - accuracy: \d\.\d{4} - recall: \d\.\d{4}"
        r" - val_loss: \d\.\d{4} - val_accuracy: \d\.\d{4} - val_recall: \d\.\d{4}",
        lines[1],
    )
    model.fit(x, y, verbose=0)
    assert capsys.readouterr().out == ""


def test_fit_takes_a_loader() -> None:
    loader = Loader(ArrayDataset(*task()), 8, shuffle=True)
    model = sequential()
    model.compile(Adam(0.01))
    assert len(model.fit(loader, epochs=2, validation_data=loader, verbose=0).epoch) == 2
    assert model.evaluate(loader) == model.evaluate(*task(), batch_size=8, verbose=0)
    np.testing.assert_allclose(
        model.predict(Loader(ArrayDataset(*task()), 8)), model.predict(task()[0])
    )


def test_evaluate_gives_the_compiled_metrics() -> None:
    x, y = task()
    model = trained(sequential())
    loss = CategoricalCrossentropy(label_smoothing=0.1)
    model.compile("sgd", loss, ["accuracy", "precision", "recall", "f1"])
    scores = model.evaluate(x, y, batch_size=7, verbose=0, return_dict=True)
    p = model.predict(x).astype(np.float64)
    assert list(scores) == ["loss", "accuracy", "precision", "recall", "f1"]
    assert list(scores) == model.metrics_names
    assert model.evaluate(x, y, batch_size=7, verbose=0) == list(scores.values())
    model.compile("sgd", loss)
    assert model.evaluate(x, y, batch_size=7, verbose=0) == scores["loss"]
    assert scores["accuracy"] == pytest.approx((p.argmax(1) == y).mean())
    target = np.full(p.shape, 0.05)
    target[np.arange(len(y)), y] = 0.95
    assert scores["loss"] == pytest.approx(-(target * np.log(p)).sum(1).mean(), rel=1e-5)
    recalls = [(p.argmax(1) == k)[y == k].mean() for k in (0, 1)]
    assert scores["recall"] == pytest.approx(np.mean(recalls))


@pytest.mark.parametrize("batch_size", [1, 7, 40, 1000])
def test_predictions_do_not_depend_on_batches(batch_size: int) -> None:
    x, _ = task()
    model = trained(sequential())
    y = model.predict(x, batch_size=batch_size)
    assert (y.shape, y.dtype) == ((40, 2), np.float32)
    np.testing.assert_allclose(y, model.predict(x), atol=1e-6)


def test_predicting_changes_nothing() -> None:
    model = trained(sequential())
    weights = model.store.get_weights()
    x, y = task()
    assert np.array_equal(model.predict(x), model.predict(x))
    model.evaluate(x, y, verbose=0)
    assert all(np.array_equal(w, weights[p]) for p, w in model.store.get_weights().items())


def test_no_images_give_no_predictions() -> None:
    for model in (sequential(), Sequential([Flatten(), Dense(2)])):
        y = model.predict(np.zeros((0, *SHAPE)))
        assert (y.shape, y.dtype) == ((0, 2), np.float32)


def test_no_images_cannot_be_evaluated_or_trained_on() -> None:
    nothing = np.zeros((0, *SHAPE)), np.zeros(0, int)
    model = sequential()
    model.compile()
    with pytest.raises(DataError, match="no images"):
        model.evaluate(*nothing)
    with pytest.raises(DataError, match="no training images"):
        model.fit(*nothing, verbose=0)


@pytest.mark.parametrize("dtype", ["uint8", "int64", "float64", "float16"])
def test_images_of_any_number_type(dtype: str) -> None:
    x = (task()[0] * 40 + 100).clip(0, 255).astype(np.uint8)
    model = sequential()
    assert np.array_equal(model.predict(x.astype(dtype)), model.predict(x.astype("float32")))


def test_images_are_not_changed() -> None:
    x, y = task()
    before = x.copy()
    model = trained(sequential())
    model.predict(x)
    strided = np.repeat(x, 2, axis=2)[:, :, ::2]
    np.testing.assert_array_equal(model.predict(strided), model.predict(x))
    assert np.array_equal(x, before)
    assert np.array_equal(y, task()[1])


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda m: m.fit(*task()), UsageError, "not compiled"),
        (lambda m: m.compile("lbfgs"), UsageError, "lbfgs"),
        (lambda m: m.compile(loss="msee"), UsageError, "'mse'"),
        (lambda m: m.compile(metrics=["reca"]), UsageError, "reca"),
        (lambda m: m.compile(metrics=["recall", "recall"]), UsageError, "two quantities"),
        (lambda m: m.find_learning_rate(*task()), UsageError, "not compiled"),
        (lambda m: m.evaluate(task()[0]), UsageError, "x and y"),
        (lambda m: m.evaluate(Loader(ArrayDataset(*task()), 8), 1), UsageError, "own labels"),
        (lambda m: m.predict(np.zeros((3, 9, 9, 1))), ShapeError, "(6, 6, 1)"),
        (lambda m: m.predict(np.zeros((3, 6, 6))), DataError, "(N, H, W, C)"),
        (lambda m: m.evaluate(task()[0], task()[1] + 5), ShapeError, "labels go up to 6"),
        (lambda m: m.evaluate(task()[0], task()[1][:-1]), DataError, "39 labels"),
        (lambda m: m.predict(task()[0], batch_size=0), UsageError, "batch_size"),
        (lambda m: m.predict("images/"), UsageError, "flow_from_directory"),
        (lambda m: m.predict(None), UsageError, "not NoneType"),
        (lambda m: m.predict(x for x in ()), UsageError, "other generators are not read"),
        (lambda m: m.evaluate(*[[1, [2]]] * 2), UsageError, "differ in shape"),
        (lambda m: m.evaluate(task()[0], np.eye(3)[task()[1]]), ShapeError, "of 3 classes"),
        (lambda m: m.compile(metrics=3), UsageError, "no metric named 3"),
        (lambda m: m.to("nowhere"), DeviceError, "nowhere"),
        (lambda m: m.to(None), DeviceError, "None"),
    ],
)
def test_misuse(use: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)):
        use(sequential())


@pytest.mark.parametrize(
    "options",
    [
        {"validation_data": 5},
        {"validation_data": (1, 2, 3)},
        {"validation_split": 1.5},
        {"validation_split": 0.99},
        {"schedule": "x"},
        {"batch_size": -1},
        {"callbacks": [5]},
        {"callbacks": [EarlyStopping]},
        {"class_weight": {2: 1.0}},
        {"class_weight": {0: -1.0}},
        {"class_weight": {0: "1"}},
        {"class_weight": [1.0, 1.0]},
        {"validation_split": "0.2"},
        {"validation_data": (task()[0], task()[1] + 1)},
        {"validation_data": (task()[0][:, 1:], task()[1])},
        {"batch_size": 2.5},
        {"epochs": -1},
        {"epochs": 1.5},
        {"callbacks": 5},
    ],
)
def test_fit_with_options_that_cannot_be_meant(options: Any) -> None:
    model = sequential()
    model.compile()
    with pytest.raises(UsageError):
        model.fit(*task(), verbose=0, **options)


def test_an_output_that_is_no_vector_cannot_be_trained() -> None:
    model = Sequential([Input(SHAPE), Conv2D(2, 3)])
    model.compile()
    with pytest.raises(ShapeError, match=r"output has shape \(4, 4, 2\)"):
        model.fit(*task(), verbose=0)


def test_the_summary(capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    sequential().summary(lines.append)
    assert [line.split()[:2] for line in lines[2:8]] == [
        ["conv2d", "(Conv2D)"],
        ["batch_normalization", "(BatchNormalization)"],
        ["max_pooling2d", "(MaxPooling2D)"],
        ["flatten", "(Flatten)"],
        ["dropout", "(Dropout)"],
        ["dense", "(Dense)"],
    ]
    assert "(4, 4, 4)" in lines[2]
    assert lines[2].endswith(" 40")
    assert "Parameters: 90 (0.00 MiB), trainable: 82" in lines[-1]
    assert len({len(line) for line in lines[:-1]}) == 1
    sequential().summary()
    assert capsys.readouterr().out.splitlines() == lines


# --- devices, files ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [sequential, functional])
def test_a_model_moves_between_devices(make: Any) -> None:
    x, _ = task()
    model = trained(make(), "numpy")
    reference = model.predict(x)
    assert model.to("cpu") is model
    assert model.device.name == "cpu"
    np.testing.assert_allclose(model.predict(x), reference, atol=1e-5)
    model.to("numpy")
    assert np.array_equal(model.predict(x), reference)


def test_training_goes_on_elsewhere() -> None:
    models = [trained(sequential(), device) for device in ("numpy", "cpu")]
    for model in models:
        trained(model, "cpu", epochs=2)
    for path, value in models[0].store.get_weights().items():
        np.testing.assert_allclose(value, models[1].store.get_weights()[path], atol=1e-3)


@pytest.mark.parametrize("make", [sequential, functional])
@pytest.mark.parametrize("device", ["numpy", "cpu"])
def test_a_saved_model_predicts_the_same(make: Any, device: str, tmp_path: Path) -> None:
    x, _ = task()
    model = trained(make(), device)
    model.classes = ("dark", "bright")
    model.preprocessing = Preprocessing(*SHAPE, mean=(0.5,), std=(2.0,)).to_config()
    path = tmp_path / "model.cpcnn"
    model.save(path)
    again = load_model(str(path), device=device)
    assert type(again) is type(model)
    assert (again.classes, again.preprocessing) == (model.classes, model.preprocessing)
    assert (again.input_shape, again.output_shape) == (model.input_shape, model.output_shape)
    assert again.device.name == device
    assert np.array_equal(again.predict(x), model.predict(x))
    np.testing.assert_allclose(load_model(path, "numpy").predict(x), model.predict(x), atol=1e-5)
    trained(again)  # and it can be trained further


def test_shared_layers_are_saved_once(tmp_path: Path) -> None:
    shared = Dense(4, activation="tanh")
    inner = Sequential([Dense(4), shared])
    model = Sequential([Input(SHAPE), Flatten(), Dense(4), shared, inner, Dense(2), shared_end()])
    path = tmp_path / "model.cpcnn"
    model.save(path)
    again = load_model(path, "numpy")
    assert again.num_parameters == model.num_parameters
    x, _ = task()
    np.testing.assert_allclose(again.predict(x), model.predict(x), atol=1e-6)


def shared_end() -> Activation:
    return Activation("softmax")


def test_a_saved_model_of_other_weights(tmp_path: Path) -> None:
    model = sequential()
    path = tmp_path / "model.cpcnn"
    model.save(path)
    with pytest.raises(CheckpointError, match="another architecture"):
        load_model(path).store.set_weights(functional().store.get_weights())


def test_an_unknown_device_comes_before_the_file(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="nowhere"):
        load_model(tmp_path / "missing", device="nowhere")
