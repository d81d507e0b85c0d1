// Sums over the rows of (M, C), in two stages: the same bits every time, without atomics.
#include "reduction.cuh"

// First stage: `parts` (parts, C) holds the sum of each part of `part_rows` rows. A block for each
// part (x) and for the columns of its threads (y); threads above each other share the rows.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) sum_parts(
    const T* __restrict__ x, Accumulator<T>* __restrict__ parts, long long rows, int vectors,
    int part_rows) {
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    const long long first = static_cast<long long>(blockIdx.x) * part_rows;
    const int count = min(static_cast<long long>(part_rows), rows - first);
    Accumulator<T> sum[VEC] = {};
    if (c < vectors) {
        for (int row = threadIdx.y; row < count; row += blockDim.y) {
            const auto pack = load<VEC>(x, (first + row) * vectors + c);
#pragma unroll
            for (int k = 0; k < VEC; k++) sum[k] += widen(pack.values[k]);
        }
    }
    sum_columns(sum);
    if (threadIdx.y > 0 || c >= vectors) return;
    parts += (static_cast<long long>(blockIdx.x) * vectors + c) * VEC;
#pragma unroll
    for (int k = 0; k < VEC; k++) parts[k] = sum[k];
}

// Second stage: the sum of the parts (parts, C), in double: there are few of them. Blocks of
// 8 × 32 threads for eight columns each.
template <typename T>
__global__ void __launch_bounds__(256, 4) join_parts(
    const Accumulator<T>* __restrict__ parts, T* __restrict__ sums, int count, int columns) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    double sum[1] = {};
    if (c < columns) {
        for (int part = threadIdx.y; part < count; part += blockDim.y) {
            sum[0] += parts[static_cast<long long>(part) * columns + c];
        }
    }
    sum_columns(sum);
    if (threadIdx.y == 0 && c < columns) sums[c] = narrow<T>(sum[0]);
}
