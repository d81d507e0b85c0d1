// Activations that other kernels take along, by number, as `CODES` of elementwise.py counts them:
// few and short, since each of those kernels holds them all. unfused_activation.cu has the rest.
// Gradients are written in terms of the output alone. The switches are the same for all threads.
#include "common.cuh"

constexpr int RELU = 1;
constexpr int SIGMOID = 2;
constexpr int TANH = 3;

__device__ __forceinline__ float exponential(float x) { return expf(x); }
__device__ __forceinline__ double exponential(double x) { return exp(x); }
__device__ __forceinline__ float logarithm(float x) { return logf(x); }
__device__ __forceinline__ double logarithm(double x) { return log(x); }
__device__ __forceinline__ float hyperbolic_tangent(float x) { return tanhf(x); }
__device__ __forceinline__ double hyperbolic_tangent(double x) { return tanh(x); }

// The sigmoid by an exponential that never overflows.
template <typename A> __device__ __forceinline__ A sigmoid(A x) {
    const A small = exponential(x < 0 ? x : -x);
    return (x < 0 ? small : static_cast<A>(1)) / (1 + small);
}

// The activation of `x`; any other number stands for the linear one. NaN stays NaN.
template <typename A> __device__ __forceinline__ A activate(A x, int activation) {
    switch (activation) {
        case RELU: return x < 0 ? 0 : x;
        case SIGMOID: return sigmoid(x);
        case TANH: return hyperbolic_tangent(x);
        default: return x;
    }
}

// The gradient before an activation whose output was `y`, from the gradient after it.
template <typename A> __device__ __forceinline__ A differentiate(A dy, A y, int activation) {
    switch (activation) {
        case RELU: return y > 0 ? dy : 0;
        case SIGMOID: return dy * y * (1 - y);
        case TANH: return dy * (1 - y * y);
        default: return dy;
    }
}
