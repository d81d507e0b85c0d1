"""Losses: the formulas of Keras, labels of every kind, class weights, binding, and names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cpcnn import losses
from cpcnn.core.context import Context
from cpcnn.core.errors import ShapeError, UsageError
from cpcnn.core.typing import Array, Saved
from cpcnn.devices import get_device
from cpcnn.losses import (
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    Loss,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
    get_loss,
)
from cpcnn.testing import check_gradient

Floats = NDArray[np.float64]
ALL = [
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
    CategoricalFocalCrossentropy,
    BinaryFocalCrossentropy,
    MeanSquaredError,
]
OF_PROBABILITIES = ALL[:-1]


def context() -> Context:
    return Context(get_device("numpy"), grad=True)


def values(loss: Loss, outputs: Any, labels: Any) -> Floats:
    return np.asarray(loss(context(), np.asarray(outputs), np.asarray(labels))[0])


def check_slopes(loss: Loss, outputs: Floats, labels: Any) -> None:
    """Compare the loss's backward with differences."""

    def function(x: Floats) -> Any:
        ctx = context()
        y, saved = loss(ctx, x, labels)
        return y, lambda dy: [loss.backward(ctx, dy, saved)]

    check_gradient(function, [outputs])


def softmax(x: Floats) -> Floats:
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


def keras_formula(loss: Any, p: Floats, t: Floats) -> Floats:
    """The value from probabilities and one-hot targets, as Keras documents it."""
    k = t.shape[1]
    smoothing = getattr(loss, "label_smoothing", 0.0)
    if isinstance(loss, MeanSquaredError):
        return np.asarray(((p - t) ** 2).mean(1))
    if loss.absorbs == "softmax":
        t = t * (1 - smoothing) + smoothing / k
        each = -t * np.log(p)
        if isinstance(loss, CategoricalFocalCrossentropy):
            each = each * np.asarray(loss.alpha) * (1 - p) ** loss.gamma
        return np.asarray(each.sum(1))
    t = t * (1 - smoothing) + smoothing / 2
    each = -(t * np.log(p) + (1 - t) * np.log(1 - p))
    if isinstance(loss, BinaryFocalCrossentropy):
        each = each * (1 - (t * p + (1 - t) * (1 - p))) ** loss.gamma
        if loss.apply_class_balancing:
            each = each * (t * loss.alpha + (1 - t) * (1 - loss.alpha))
    return np.asarray(each.mean(1))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Any, Floats, NDArray[np.int64]]:
    """Draw a loss with options, outputs (N, K) and class indices."""
    kind = draw(st.sampled_from(ALL))
    options: dict[str, Any] = {}
    k = draw(st.integers(2, 6))
    if kind is not MeanSquaredError:
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1, 0.5]))
    if "Focal" in kind.__name__:
        options["gamma"] = draw(st.sampled_from([0.0, 0.5, 2.0, 3.0]))
        options["alpha"] = draw(st.sampled_from([0.25, 1.0]))
    if kind is BinaryFocalCrossentropy:
        options["apply_class_balancing"] = draw(st.booleans())
    if kind is CategoricalFocalCrossentropy and draw(st.booleans()):
        options["alpha"] = list(np.linspace(0.1, 0.9, k))
    if issubclass(kind, (BinaryCrossentropy, BinaryFocalCrossentropy, MeanSquaredError)):
        k = draw(st.sampled_from([1, k]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(1, 6))
    return kind(**options), rng.normal(size=(n, k)), rng.integers(0, max(2, k), n)


def one_hot(labels: NDArray[np.int64], k: int) -> Floats:
    return labels[:, None].astype(float) if k == 1 else np.eye(k)[labels]


@given(cases())
def test_formulas_from_logits_and_from_probabilities(case: Any) -> None:
    loss, outputs, labels = case
    targets = one_hot(labels, outputs.shape[1])
    final = {"softmax": softmax, "sigmoid": lambda z: 1 / (1 + np.exp(-z)), None: lambda z: z}
    probabilities = final[loss.absorbs](outputs)
    expected = keras_formula(loss, probabilities, targets)
    np.testing.assert_allclose(values(loss.bind(True), outputs, labels), expected, rtol=1e-9)
    np.testing.assert_allclose(
        values(loss.bind(False, probabilities=True), probabilities, labels), expected, rtol=1e-9
    )


@given(cases())
def test_class_indices_are_their_targets(case: Any) -> None:
    loss, outputs, labels = case
    targets = one_hot(labels, outputs.shape[1])
    for bound in (loss.bind(True), loss.bind(False)):
        by_index = values(bound, outputs, labels)
        for dtype in ("float64", "float32", "int32", "bool"):
            found = values(bound, outputs, targets.astype(dtype))
            np.testing.assert_allclose(found, by_index, rtol=1e-12, atol=1e-14)


@given(cases(), st.booleans(), st.booleans())
def test_gradients_are_those_of_differences(case: Any, absorbed: bool, weighted: bool) -> None:
    loss, outputs, labels = case
    if not absorbed:
        outputs = 0.1 + 0.8 * softmax(outputs)  # away from where probabilities are cut
        loss = loss.bind(False, probabilities=True)
    if weighted:
        loss = loss.with_class_weights(np.arange(1, max(2, outputs.shape[1]) + 1))
    check_slopes(loss, outputs, labels)
    check_slopes(loss, outputs, one_hot(labels, outputs.shape[1]))


@given(cases(), st.sampled_from(["indices", "targets"]))
def test_class_weights_multiply_each_images_loss(case: Any, kind: str) -> None:
    loss, outputs, labels = case
    weights = np.array([0.5, 0.0, 3.0, 1.0, 2.0, 7.0])[: max(2, outputs.shape[1])]
    given_labels = labels if kind == "indices" else one_hot(labels, outputs.shape[1])
    found = values(loss.with_class_weights(weights), outputs, given_labels)
    expected = values(loss, outputs, labels) * weights[labels]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_soft_targets_and_several_yeses() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.25]]))
    soft = np.array([[0.2, 0.3, 0.5]])
    expected = -(soft * logits).sum(1)
    np.testing.assert_allclose(values(CategoricalCrossentropy(), logits, soft), expected)
    z = np.array([[0.0, 2.0, -1.0]])
    both = np.array([[1.0, 1.0, 0.0]])
    expected = np.log1p(np.exp(z * (1 - 2 * both))).mean(1)
    np.testing.assert_allclose(values(BinaryCrossentropy(), z, both), expected)


def test_soft_targets_weigh_as_their_largest_class() -> None:
    loss = MeanSquaredError()
    weighted = loss.with_class_weights([1, 10, 100])
    outputs, soft = np.zeros((2, 3)), np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    expected = values(loss, outputs, soft) * [10, 100]
    np.testing.assert_allclose(values(weighted, outputs, soft), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ALL)
def test_losses_and_gradients_keep_the_dtype(kind: Any, dtype: str) -> None:
    for loss in (kind(), kind().with_class_weights([1, 2, 3])):
        for labels in (np.array([0, 2]), np.eye(3)[:2]):
            ctx = context()
            outputs = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]], dtype)
            found, saved = loss(ctx, outputs, labels)
            assert found.shape == (2,)
            assert found.dtype == dtype
            gradient = loss.backward(ctx, np.ones(2, dtype), saved)
            assert gradient.shape == (2, 3)
            assert gradient.dtype == dtype


# ---- Binding ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_PROBABILITIES)
def test_the_network_decides_whether_outputs_are_logits(kind: Any) -> None:
    for told in (None, False):
        assert kind(from_logits=told).bind(True).from_logits is True
    assert kind().bind(False).from_logits is True
    assert kind().bind(False, probabilities=True).from_logits is False
    assert kind(from_logits=False).bind(False).from_logits is False
    assert kind(from_logits=True).bind(False).from_logits is True


@pytest.mark.parametrize("kind", OF_PROBABILITIES)
def test_logits_are_not_promised_of_a_network_that_gives_probabilities(kind: Any) -> None:
    for loss in (kind(from_logits=True), kind(from_logits=True).with_class_weights([1, 2])):
        with pytest.raises(UsageError, match="from_logits=True, but the network gives prob"):
            loss.bind(True)
        with pytest.raises(UsageError, match="from_logits=True, but the network gives prob"):
            loss.bind(False, probabilities=True)


def test_binding_keeps_the_options() -> None:
    loss = BinaryFocalCrossentropy(True, 0.7, 1.5, label_smoothing=0.2)
    assert loss.bind(True) == BinaryFocalCrossentropy(True, 0.7, 1.5, True, 0.2)
    weighted: Any = loss.with_class_weights([1, 2]).bind(True)
    assert weighted.absorbs == "sigmoid"
    assert weighted.loss == loss.bind(True)
    assert weighted.weights.tolist() == [1, 2]


def test_what_each_loss_undoes() -> None:
    undone = {kind.__name__: kind().absorbs for kind in ALL}
    assert undone == {
        "CategoricalCrossentropy": "softmax",
        "SparseCategoricalCrossentropy": "softmax",
        "BinaryCrossentropy": "sigmoid",
        "CategoricalFocalCrossentropy": "softmax",
        "BinaryFocalCrossentropy": "sigmoid",
        "MeanSquaredError": None,
    }
    assert MeanSquaredError().bind(False, probabilities=True) == MeanSquaredError()


def test_plain_cross_entropy_takes_the_fast_op() -> None:
    """Of class indices and logits; the GPU has a kernel for it."""
    ctx = context()
    _, record = CategoricalCrossentropy()(ctx, np.zeros((1, 3)), np.array([1]))
    assert record.op.__name__ == "SoftmaxCrossEntropy"


# ---- What is refused -------------------------------------------------------------------------


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("kind", OF_PROBABILITIES)
def test_smoothing_is_a_share(kind: Any, smoothing: float) -> None:
    with pytest.raises(UsageError, match="label_smoothing"):
        kind(label_smoothing=smoothing)


def test_a_number_in_the_place_of_from_logits() -> None:
    for number in (0.1, 1.0, 0.0, 1, "true"):
        with pytest.raises(UsageError, match=r"from_logits must be .* label_smoothing=0\.1"):
            CategoricalCrossentropy(number)  # type: ignore[arg-type]


@pytest.mark.parametrize("gamma", [-1.0, float("nan"), float("inf")])
def test_gamma_is_a_number_from_zero_on(gamma: float) -> None:
    for kind in (CategoricalFocalCrossentropy, BinaryFocalCrossentropy):
        with pytest.raises(UsageError, match="gamma"):
            kind(gamma=gamma)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("outputs", "labels"),
    [((4, 3), (3,)), ((4, 3), (4, 2)), ((4, 3), (4, 1)), ((4, 2, 2, 3), (4,)), ((3,), (3,))],
)
def test_shapes_that_do_not_fit(kind: Any, outputs: Any, labels: Any) -> None:
    with pytest.raises(ShapeError, match="shape"):
        values(kind(), np.zeros(outputs), np.zeros(labels, np.int64))


def test_one_output_is_no_choice_of_classes() -> None:
    for kind in (CategoricalCrossentropy, CategoricalFocalCrossentropy):
        with pytest.raises(ShapeError, match=r"only one.*binary_crossentropy"):
            values(kind(), np.zeros((2, 1)), np.array([0, 1]))


def test_class_weights_and_alphas_are_one_a_class() -> None:
    outputs, labels = np.zeros((2, 3)), np.array([0, 1])
    with pytest.raises(ShapeError, match="2 class weights do not go with 3 classes"):
        values(MeanSquaredError().with_class_weights([1, 2]), outputs, labels)
    with pytest.raises(ShapeError, match="3 class weights do not go with 2 classes"):
        values(BinaryCrossentropy().with_class_weights([1, 2, 3]), np.zeros((2, 1)), labels)
    with pytest.raises(ShapeError, match="alpha must be a number or 3"):
        values(CategoricalFocalCrossentropy([0.5, 0.5]), outputs, labels)
    for weights in ([-1, 2], [float("nan"), 1], [float("inf"), 1]):
        with pytest.raises(UsageError, match="finite and not negative"):
            MeanSquaredError().with_class_weights(weights)
    with pytest.raises(ShapeError, match=r"shape \(K,\)"):
        MeanSquaredError().with_class_weights([[1, 2]])


# ---- Names -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ALL)
def test_every_loss_has_three_names(kind: Any) -> None:
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__)[1:]
    assert get_loss(snake) == get_loss(kind.__name__) == get_loss(kind) == kind()
    assert type(get_loss(snake)) is kind
    assert getattr(losses, snake) is get_loss(snake)


def test_short_names() -> None:
    assert get_loss("mse") == get_loss("MSE") == MeanSquaredError()
    assert get_loss("bce") == BinaryCrossentropy()
    assert get_loss("focal") == CategoricalFocalCrossentropy()


def test_a_loss_is_itself() -> None:
    mine = CategoricalCrossentropy(label_smoothing=0.1)
    assert get_loss(mine) is mine


@pytest.mark.parametrize("loss", ["hinge", None, 5, ["categorical_crossentropy"], int])
def test_unknown_losses(loss: Any) -> None:
    with pytest.raises(UsageError, match="Known losses: categorical_crossentropy"):
        get_loss(loss)


def test_a_slip_is_understood() -> None:
    with pytest.raises(UsageError, match=r"'categorical_crossentrpy'. Did you mean 'categorical_"):
        get_loss("categorical_crossentrpy")


def test_a_loss_of_ones_own() -> None:
    @dataclass(frozen=True)
    class Distance(Loss):
        power: float = 4.0

        def __call__(self, ctx: Context, outputs: Array, labels: Array) -> tuple[Array, Saved]:
            return ctx.xp.sum(outputs**self.power, axis=-1), outputs

        def backward(self, ctx: Context, dy: Array, saved: Saved) -> Array:
            return self.power * saved ** (self.power - 1) * dy[:, None]

    outputs = np.array([[1.0, 2.0], [0.5, 3.0]])
    for loss in (get_loss(Distance), Distance().with_class_weights([2, 3])):
        check_slopes(loss.bind(False), outputs, np.array([0, 1]))
