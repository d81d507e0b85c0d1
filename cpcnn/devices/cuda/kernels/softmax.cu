// Softmax over the columns of rows (M, C): one warp for each row, its lanes beside each other.
#include "activations.cuh"
#include "reduction.cuh"

// y = softmax(x); y may be x itself, since every lane reads and writes elements of its own.
template <typename T>
__global__ void __launch_bounds__(256, 4) softmax_forward(
    const T* x, T* y, long long rows, int columns) {
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
    for (int c = threadIdx.x; c < columns; c += WARP) {
        y[c] = narrow<T>(exponential(widen(x[c]) - largest) / sum);
    }
}

// dx = y * (dy - sum(dy * y)).
template <typename T>
__global__ void __launch_bounds__(256, 4) softmax_backward(
    const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long rows,
    int columns) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // the whole warp
    dy += row * columns;
    y += row * columns;
    dx += row * columns;
    Accumulator<T> sum = 0;
    for (int c = threadIdx.x; c < columns; c += WARP) sum += widen(dy[c]) * widen(y[c]);
    sum = warp_sum(sum);
    for (int c = threadIdx.x; c < columns; c += WARP) {
        dx[c] = narrow<T>(widen(y[c]) * (widen(dy[c]) - sum));
    }
}
