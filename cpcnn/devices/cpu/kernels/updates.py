"""Optimizer updates in one pass over the flat buffers, and what prepares their gradients.

Numbers that are the same for all elements are worked out before, in float64. All kernels work on
the elements from `start` to `stop`, through slices: in a loop from `start` the compiler must think
of negative indices, and uses no vectors.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel


@kernel
def sgd(value, grad, start, stop, rate, decay, factor):
    """Subtract rate * (factor * grad + decay * value)."""
    value, grad = value[start:stop], grad[start:stop]
    rate, decay, factor = np.float32(rate), np.float32(decay), np.float32(factor)
    for i in range(len(value)):
        value[i] -= rate * (factor * grad[i] + decay * value[i])


@kernel
def momentum_sgd(value, grad, velocity, start, stop, rate, decay, factor, momentum, nesterov):
    """As `sgd`, with a velocity that keeps `momentum` of itself."""
    value, grad, velocity = value[start:stop], grad[start:stop], velocity[start:stop]
    rate, decay, factor = np.float32(rate), np.float32(decay), np.float32(factor)
    momentum = np.float32(momentum)
    for i in range(len(value)):
        step = rate * (factor * grad[i] + decay * value[i])
        moved = momentum * velocity[i] - step
        velocity[i] = moved
        value[i] += momentum * moved - step if nesterov else moved


@kernel
def adam(
    value, grad, first, second, start, stop, factor, beta_1, beta_2, correction, epsilon, kept,
    from_mean, from_grad
):  # fmt: skip
    """Move both averages; then value = kept * value - the step.

    The step is (from_mean * first + from_grad * grad) / (correction * sqrt(second) + epsilon).
    """
    value, grad = value[start:stop], grad[start:stop]
    first, second = first[start:stop], second[start:stop]
    rest_1, rest_2 = np.float32(1 - beta_1), np.float32(1 - beta_2)
    beta_1, beta_2, factor = np.float32(beta_1), np.float32(beta_2), np.float32(factor)
    correction, epsilon, kept = np.float32(correction), np.float32(epsilon), np.float32(kept)
    from_mean, from_grad = np.float32(from_mean), np.float32(from_grad)
    for i in range(len(value)):
        g = factor * grad[i]
        mean = beta_1 * first[i] + rest_1 * g
        square = beta_2 * second[i] + rest_2 * g * g
        first[i] = mean
        second[i] = square
        change = (from_mean * mean + from_grad * g) / (correction * np.sqrt(square) + epsilon)
        value[i] = kept * value[i] - change


@kernel
def rmsprop(
    value, grad, square, mean, velocity, start, stop, factor, rho, rate, epsilon, momentum, kept,
    centered
):  # fmt: skip
    """As the op; `mean` is empty unless `centered`, `velocity` unless there is a momentum."""
    value, grad, square = value[start:stop], grad[start:stop], square[start:stop]
    mean, velocity = mean[start:stop], velocity[start:stop]
    rest, rho, factor = np.float32(1 - rho), np.float32(rho), np.float32(factor)
    rate, epsilon, kept = np.float32(rate), np.float32(epsilon), np.float32(kept)
    moving, momentum = momentum > 0, np.float32(momentum)
    zero = np.float32(0)
    for i in range(len(value)):
        g = factor * grad[i]
        spread = rho * square[i] + rest * g * g
        square[i] = spread
        if centered:
            middle = rho * mean[i] + rest * g
            mean[i] = middle
            spread -= middle * middle
            spread = zero if spread < zero else spread
        change = rate * g / np.sqrt(spread + epsilon)
        if moving:
            change += momentum * velocity[i]
            velocity[i] = change
        value[i] = kept * value[i] - change


@kernel
def average(target, value, start, stop, decay):
    """Keep `decay` of an average, and take the rest from the value."""
    target, value = target[start:stop], value[start:stop]
    rest, decay = np.float32(1 - decay), np.float32(decay)
    for i in range(len(value)):
        target[i] = decay * target[i] + rest * value[i]


@kernel
def clip(grad, start, stop, limit):
    """Bring every element into [-limit, limit]; NaN stays."""
    grad, limit = grad[start:stop], np.float32(limit)
    for i in range(len(grad)):
        g = grad[i]
        g = limit if g > limit else g
        grad[i] = -limit if g < -limit else g


@kernel
def sum_of_squares(grad, start, stop):
    """Return the sum of squares, in float64."""
    grad = grad[start:stop]
    total = 0.0
    for i in range(len(grad)):
        wide = np.float64(grad[i])
        total += wide * wide
    return total
