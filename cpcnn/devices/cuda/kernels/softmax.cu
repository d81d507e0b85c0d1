// Softmax, or its logarithm, over the columns of rows (M, C): one warp for each row, its lanes
// beside each other.
#include "activations.cuh"
#include "reduction.cuh"

// y = softmax(x), or its logarithm; y may be x itself, since every lane reads and writes elements
// of its own.
template <typename T>
__global__ void __launch_bounds__(256, 4) softmax_forward(
    const T* x, T* y, long long rows, int columns, int logarithmic) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // the whole warp
    x += row * columns;
    y += row * columns;
    Accumulator<T> largest = -infinity();
    for (int c = threadIdx.x; c < columns; c += WARP) {
        const Accumulator<T> value = widen(x[c]);
        if (value > largest) largest = value;  // a NaN makes the sum NaN, so it is not lost here
    }
    largest = warp_max(largest);
    Accumulator<T> sum = 0;
    for (int c = threadIdx.x; c < columns; c += WARP) sum += exponential(widen(x[c]) - largest);
    sum = warp_sum(sum);
    const Accumulator<T> log_sum = logarithm(sum);
    for (int c = threadIdx.x; c < columns; c += WARP) {
        const Accumulator<T> shifted = widen(x[c]) - largest;
        y[c] = narrow<T>(logarithmic ? shifted - log_sum : exponential(shifted) / sum);
    }
}

// dx = y * (dy - sum(dy * y)), or dy - exp(y) * sum(dy) of the logarithm.
template <typename T>
__global__ void __launch_bounds__(256, 4) softmax_backward(
    const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long rows,
    int columns, int logarithmic) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // the whole warp
    dy += row * columns;
    y += row * columns;
    dx += row * columns;
    Accumulator<T> sum = 0;
    for (int c = threadIdx.x; c < columns; c += WARP) {
        sum += logarithmic ? widen(dy[c]) : widen(dy[c]) * widen(y[c]);
    }
    sum = warp_sum(sum);
    for (int c = threadIdx.x; c < columns; c += WARP) {
        const Accumulator<T> gradient = widen(dy[c]), output = widen(y[c]);
        dx[c] = narrow<T>(
            logarithmic ? gradient - exponential(output) * sum : output * (gradient - sum));
    }
}
