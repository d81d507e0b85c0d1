// Elementwise activations that no other kernel takes along, by number, as `UNFUSED` of
// elementwise.py counts them. The switches are the same for all threads.
#include "activations.cuh"

constexpr int RELU6 = 1;
constexpr int LEAKY_RELU = 2;
constexpr int ELU = 3;
constexpr int SELU = 4;
constexpr int EXPONENTIAL = 5;
constexpr int SOFTPLUS = 6;
constexpr int SOFTSIGN = 7;
constexpr int HARD_SIGMOID = 8;
constexpr int GELU = 9;
constexpr int GELU_TANH = 10;
constexpr int SILU = 11;
constexpr int HARD_SWISH = 12;
constexpr int MISH = 13;

constexpr double LEAK = 0.2;
constexpr double SELU_SCALE = 1.0507009873554805;
constexpr double SELU_DEPTH = SELU_SCALE * 1.6732632423543772;
constexpr double SQRT_HALF = 0.70710678118654752440;       // sqrt(1 / 2)
constexpr double NORMAL_DENSITY = 0.39894228040143267794;  // 1 / sqrt(2 pi)
constexpr double GELU_SLOPE = 1.59576912160573071176;      // sqrt(8 / pi)
constexpr double GELU_CUBIC = 0.044715;

// exp(x) - 1 and log(1 + x), right near zero, and 1 - erf(x), right far from it.
__device__ __forceinline__ float exponential_less_one(float x) { return expm1f(x); }
__device__ __forceinline__ double exponential_less_one(double x) { return expm1(x); }
__device__ __forceinline__ float logarithm_of_one_plus(float x) { return log1pf(x); }
__device__ __forceinline__ double logarithm_of_one_plus(double x) { return log1p(x); }
__device__ __forceinline__ float error_complement(float x) { return erfcf(x); }
__device__ __forceinline__ double error_complement(double x) { return erfc(x); }

// The nearest number in [low, high]; NaN stays NaN.
template <typename A> __device__ __forceinline__ A held(A x, A low, A high) {
    return x < low ? low : x > high ? high : x;
}

// log(1 + exp(x)) by an exponential that never overflows.
template <typename A> __device__ __forceinline__ A softplus(A x) {
    return (x < 0 ? 0 : x) + logarithm_of_one_plus(exponential(x < 0 ? x : -x));
}

template <typename A> __device__ __forceinline__ A softsign(A x) {
    x = held<A>(x, -1e18, 1e18);  // infinity over infinity is no number
    return x / (1 + (x < 0 ? -x : x));
}

template <typename A> __device__ __forceinline__ A hard_sigmoid(A x) {
    return held<A>(x + 3, 0, 6) / 6;
}

// The normal distribution function, right where 1 + erf cancels.
template <typename A> __device__ __forceinline__ A normal_below(A x) {
    return error_complement(x * static_cast<A>(-SQRT_HALF)) / 2;
}

// (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 as a sigmoid, right where 1 + tanh cancels.
template <typename A> __device__ __forceinline__ A gelu_gate(A x) {
    return sigmoid((x + static_cast<A>(GELU_CUBIC) * x * x * x) * static_cast<A>(GELU_SLOPE));
}

// x * gate(x). Arguments are held in a range outside which the gate is 0 or 1 in every type, since
// infinity times zero is no number.
template <typename A> __device__ __forceinline__ A gated(A x, int activation) {
    const A reach = activation < SILU ? 40 : 800;
    const A factor = x < -reach ? -reach : x;
    x = held(x, -reach, reach);
    switch (activation) {
        case GELU: return factor * normal_below(x);
        case GELU_TANH: return factor * gelu_gate(x);
        case SILU: return factor * sigmoid(x);
        case HARD_SWISH: return factor * hard_sigmoid(x);
        default: return factor * hyperbolic_tangent(softplus(x));  // MISH
    }
}

// The gradient of x * gate(x) in terms of the input.
template <typename A> __device__ __forceinline__ A gated_gradient(A dy, A x, int activation) {
    const A reach = activation < SILU ? 40 : 800;
    x = held(x, -reach, reach);
    switch (activation) {
        case GELU: {
            const A density = exponential(x * x / -2) * static_cast<A>(NORMAL_DENSITY);
            return dy * (normal_below(x) + x * density);
        }
        case GELU_TANH: {
            const A gate = gelu_gate(x);
            const A inner = 1 + 3 * static_cast<A>(GELU_CUBIC) * x * x;
            return dy * (gate + x * gate * (1 - gate) * inner * static_cast<A>(GELU_SLOPE));
        }
        case SILU: {
            const A gate = sigmoid(x);
            return dy * (gate * (1 + x * (1 - gate)));
        }
        case HARD_SWISH: return x >= 3 ? dy : x > -3 ? dy * ((2 * x + 3) / 6) : 0;
        default: {  // MISH
            const A gate = hyperbolic_tangent(softplus(x));
            return dy * (gate + x * (1 - gate * gate) * sigmoid(x));
        }
    }
}

// The activation of `x`. NaN stays NaN.
template <typename A> __device__ __forceinline__ A unfused(A x, int activation) {
    switch (activation) {
        case RELU6: return held<A>(x, 0, 6);
        case LEAKY_RELU: return x > 0 ? x : x * static_cast<A>(LEAK);
        case ELU: return x > 0 ? x : exponential_less_one(x);
        case SELU:
            return x > 0 ? x * static_cast<A>(SELU_SCALE)
                         : exponential_less_one(x) * static_cast<A>(SELU_DEPTH);
        case EXPONENTIAL: return exponential(x);
        case SOFTPLUS: return softplus(x);
        case SOFTSIGN: return softsign(x);
        case HARD_SIGMOID: return hard_sigmoid(x);
        default: return gated(x, activation);
    }
}

// The gradient before an activation that kept `kept`: its output, or its input if it is a gate's.
template <typename A> __device__ __forceinline__ A unfused_gradient(A dy, A kept, int activation) {
    switch (activation) {
        case RELU6: return kept > 0 && kept < 6 ? dy : 0;
        case LEAKY_RELU: return kept > 0 ? dy : dy * static_cast<A>(LEAK);
        case ELU: return kept > 0 ? dy : dy * (kept + 1);
        case SELU:
            return dy * (kept > 0 ? static_cast<A>(SELU_SCALE) : kept + static_cast<A>(SELU_DEPTH));
        case EXPONENTIAL: return dy * kept;
        case SOFTPLUS: return dy * -exponential_less_one(-kept);
        case SOFTSIGN: {
            const A rest = 1 - (kept < 0 ? -kept : kept);
            return dy * (rest * rest);
        }
        case HARD_SIGMOID: return kept > 0 && kept < 1 ? dy / 6 : 0;
        default: return gated_gradient(dy, kept, activation);
    }
}

// y = activation(x), a pack of elements for each thread at a time; y may be x itself.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) unfused_activation_forward(
    const T* x, T* y, long long packs, int activation) {
    for (long long i = first_index(); i < packs; i += index_step()) {
        const auto pack = load<VEC>(x, i);
        Accumulator<T> value[VEC];
#pragma unroll
        for (int k = 0; k < VEC; k++) value[k] = unfused(widen(pack.values[k]), activation);
        store<VEC>(y, i, narrowed<T, VEC>(value));
    }
}

// dx from dy and what the activation kept, a pack of elements for each thread at a time.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) unfused_activation_backward(
    const T* __restrict__ dy, const T* __restrict__ kept, T* __restrict__ dx, long long packs,
    int activation) {
    for (long long i = first_index(); i < packs; i += index_step()) {
        const auto gradient = load<VEC>(dy, i);
        const auto other = load<VEC>(kept, i);
        Accumulator<T> value[VEC];
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            value[k] =
                unfused_gradient(widen(gradient.values[k]), widen(other.values[k]), activation);
        }
        store<VEC>(dx, i, narrowed<T, VEC>(value));
    }
}
