// Whether numbers are finite, and how long a gradient is: the host need not know.
#include "reduction.cuh"

template <typename A> __device__ __forceinline__ bool is_finite(A x) {
    return x > -infinity() && x < infinity();  // no NaN is larger or smaller than anything
}

// `result` becomes false when an element is not finite, and else stays as it is. Every thread that
// writes writes the same.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) find_not_finite(
    const T* __restrict__ x, bool* __restrict__ result, long long size) {
    bool good = true;
    const long long packs = size / VEC;
    for (long long i = first_index(); i < packs; i += index_step()) {
        const auto pack = load<VEC>(x, i);
#pragma unroll
        for (int k = 0; k < VEC; k++) good = good && is_finite(pack.values[k]);
    }
    for (long long i = packs * VEC + first_index(); i < size; i += index_step()) {
        good = good && is_finite(x[i]);
    }
    if (!good) *result = false;
}

// First stage of a sum of squares, in double: `parts` has one for each block of 32 × 8 threads.
// Each thread takes groups of 16 bytes, however it loads them, so that the sum does not depend on
// where the array lies.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) square_parts(
    const T* __restrict__ x, double* __restrict__ parts, long long size) {
    constexpr int GROUP = 16 / sizeof(T);
    const int thread = threadIdx.y * COLUMNS + threadIdx.x;
    const long long groups = size / GROUP;
    double sum = 0;
    for (long long i = static_cast<long long>(blockIdx.x) * THREADS + thread; i < groups;
         i += static_cast<long long>(gridDim.x) * THREADS) {
#pragma unroll
        for (int j = 0; j < GROUP / VEC; j++) {
            const auto pack = load<VEC>(x, i * (GROUP / VEC) + j);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                const double value = pack.values[k];
                sum += value * value;
            }
        }
    }
    if (blockIdx.x == 0 && groups * GROUP + thread < size) {
        const double value = x[groups * GROUP + thread];
        sum += value * value;
    }
    sum = sum_column(warp_sum(sum));
    if (thread == 0) parts[blockIdx.x] = sum;
}

// Second stage: the factor that clips the gradient to `max_norm`, 0 where its norm is not finite.
// One block of 32 × 8 threads.
template <typename T>
__global__ void __launch_bounds__(256, 4) clipping_scale(
    const double* __restrict__ parts, T* __restrict__ scale, int count, double max_norm) {
    const int thread = threadIdx.y * COLUMNS + threadIdx.x;
    double sum = 0;
    for (int part = thread; part < count; part += THREADS) sum += parts[part];
    sum = sum_column(warp_sum(sum));
    if (thread > 0) return;
    const double norm = sqrt(sum);
    const double factor = norm > max_norm ? max_norm / norm : 1;
    *scale = is_finite(norm) ? factor : 0;
}
