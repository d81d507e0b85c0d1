// Pooling over all pixels: images seen as (N, P, C) -> (N, C).
// Forward: a block of 32 × 8 threads for each image (x) and 32 channel vectors (y); the eight
// threads of a column share its pixels. Backward: a block for each row of pixels.
#include "reduction.cuh"

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) global_average_forward(
    const T* __restrict__ x, T* __restrict__ y, int pixels, int vectors) {
    const int c = blockIdx.y * COLUMNS + threadIdx.x;
    const long long image = static_cast<long long>(blockIdx.x) * pixels;
    Accumulator<T> sum[VEC] = {};
    if (c < vectors) {
        for (int p = threadIdx.y; p < pixels; p += HEIGHT) {
            const auto pixel = load<VEC>(x, (image + p) * vectors + c);
#pragma unroll
            for (int k = 0; k < VEC; k++) sum[k] += widen(pixel.values[k]);
        }
    }
#pragma unroll
    for (int k = 0; k < VEC; k++) sum[k] = sum_column(sum[k]) / pixels;
    if (threadIdx.y == 0 && c < vectors) {
        store<VEC>(y, static_cast<long long>(blockIdx.x) * vectors + c, narrowed<T, VEC>(sum));
    }
}

// Spreads dy evenly over an image's pixels.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) global_average_backward(
    const T* __restrict__ dy, T* __restrict__ dx, int height, int width, int vectors) {
    const int n = blockIdx.x / height;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        const auto gradient = load<VEC>(dy, static_cast<long long>(n) * vectors + c);
        Accumulator<T> share[VEC];
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            share[k] = widen(gradient.values[k]) / (static_cast<Accumulator<T>>(height) * width);
        }
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            store<VEC>(dx, (row + w) * vectors + c, narrowed<T, VEC>(share));
        }
    }
}

// Whether the pixel `place` goes before the best one so far: larger, or NaN, and the first of equals.
template <typename A>
__device__ __forceinline__ bool beats(A value, int place, A best, int best_place) {
    const bool same = value == best || (value != value && best != best);
    if (same) return place < best_place;
    return value > best || value != value;
}

// Maximum of each channel, and in `winner` the number of the pixel that it came from.
template <typename T>
__global__ void __launch_bounds__(256, 4) global_max_forward(
    const T* __restrict__ x, T* __restrict__ y, int* __restrict__ winner, int pixels,
    int channels) {
    __shared__ Accumulator<T> values[HEIGHT][COLUMNS];
    __shared__ int places[HEIGHT][COLUMNS];
    const int c = blockIdx.y * COLUMNS + threadIdx.x;
    const long long image = static_cast<long long>(blockIdx.x) * pixels;
    Accumulator<T> best = -infinity();
    int place = pixels;  // behind every pixel
    if (c < channels) {
        for (int p = threadIdx.y; p < pixels; p += HEIGHT) {
            const Accumulator<T> value = widen(x[(image + p) * channels + c]);
            if (beats(value, p, best, place)) {
                best = value;
                place = p;
            }
        }
    }
    values[threadIdx.y][threadIdx.x] = best;
    places[threadIdx.y][threadIdx.x] = place;
    __syncthreads();
    if (threadIdx.y > 0 || c >= channels) return;
    for (int other = 1; other < HEIGHT; other++) {
        const Accumulator<T> value = values[other][threadIdx.x];
        if (beats(value, places[other][threadIdx.x], best, place)) {
            best = value;
            place = places[other][threadIdx.x];
        }
    }
    const long long target = static_cast<long long>(blockIdx.x) * channels + c;
    y[target] = narrow<T>(best);
    winner[target] = place;
}

// Gives dy to the pixel that won, and zero to the others.
template <typename T>
__global__ void __launch_bounds__(256, 4) global_max_backward(
    const T* __restrict__ dy, const int* __restrict__ winner, T* __restrict__ dx, int height,
    int width, int channels) {
    const int n = blockIdx.x / height;
    const int first = (blockIdx.x - n * height) * width;
    const long long row = static_cast<long long>(blockIdx.x) * width;
    for (int c = threadIdx.x; c < channels; c += blockDim.x) {
        const long long source = static_cast<long long>(n) * channels + c;
        const T gradient = dy[source];
        const int won = winner[source];
        for (int w = threadIdx.y; w < width; w += blockDim.y) {
            dx[(row + w) * channels + c] = first + w == won ? gradient : narrow<T>(0);
        }
    }
}
