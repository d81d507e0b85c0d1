// Sums over threads, in an order that the shape of the block alone decides.
#include "common.cuh"

constexpr int THREADS = 256;  // of a block, at most
constexpr int COLUMNS = 32;   // threads along x in blocks of 32 × 8: each has columns of its own
constexpr int HEIGHT = 8;     // threads along y: they share the rows of a column
constexpr int WARP = 32;

// Adds `value` over the threads of a column, in the order of their y, for blocks of 32 × 8; the
// threads of y = 0 receive the sum. All threads of the block must call it.
template <typename A> __device__ __forceinline__ A sum_column(A value) {
    __shared__ A values[HEIGHT][COLUMNS];
    __syncthreads();  // the sums of a call before are read by now
    values[threadIdx.y][threadIdx.x] = value;
    __syncthreads();
    A sum = value;
    if (threadIdx.y == 0) {
        for (int y = 1; y < HEIGHT; y++) sum += values[y][threadIdx.x];
    }
    return sum;
}

// Adds each of `sums` over the threads of a column, for blocks of any shape: the lower half of the
// threads adds what the upper half has, until one row of threads is left. The threads of y = 0
// receive the sums. All threads of the block must call it.
template <int VEC, typename A> __device__ __forceinline__ void sum_columns(A (&sums)[VEC]) {
    __shared__ A values[VEC][THREADS];
    const int y = threadIdx.y;
    const int thread = y * blockDim.x + threadIdx.x;
    __syncthreads();  // the sums of a call before are read by now
#pragma unroll
    for (int k = 0; k < VEC; k++) values[k][thread] = sums[k];
    for (int height = blockDim.y; height > 1;) {
        const int half = (height + 1) / 2;
        __syncthreads();
        if (y + half < height) {
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                values[k][thread] += values[k][thread + half * blockDim.x];
            }
        }
        height = half;
    }
#pragma unroll
    for (int k = 0; k < VEC; k++) sums[k] = values[k][thread];
}

// The sum over a warp, the same in every lane: a tree, whose halves are added in either order.
template <typename A> __device__ __forceinline__ A warp_sum(A value) {
#pragma unroll
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        value += __shfl_xor_sync(0xffffffffu, value, distance);
    }
    return value;
}

// The maximum over a warp, in every lane; NaN is ignored.
template <typename A> __device__ __forceinline__ A warp_max(A value) {
#pragma unroll
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const A other = __shfl_xor_sync(0xffffffffu, value, distance);
        if (other > value) value = other;
    }
    return value;
}
