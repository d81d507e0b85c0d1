// Batch normalisation of rows (M, C), each channel on its own.
// Sums over the rows are taken in parts of `part_rows` rows, `parts` (P, 2, C), and joined by a
// second kernel: the same bits every time. Vectors (C,) are in the accumulator's type.
#include "activations.cuh"
#include "reduction.cuh"

// What a thread knows of its channels, in registers.
template <int VEC, typename A>
__device__ __forceinline__ void load_channels(A (&values)[VEC], const A* source, int c) {
#pragma unroll
    for (int k = 0; k < VEC; k++) values[k] = source[c * VEC + k];
}

// Writes the two sums of a part, which threads above each other share.
template <int VEC, typename A>
__device__ __forceinline__ void store_part(
    A* parts, int c, int vectors, A (&first)[VEC], A (&second)[VEC]) {
    sum_columns(first);
    sum_columns(second);
    if (threadIdx.y > 0 || c >= vectors) return;
    const long long channels = static_cast<long long>(vectors) * VEC;
    parts += 2 * channels * blockIdx.x + c * VEC;
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        parts[k] = first[k];
        parts[channels + k] = second[k];
    }
}

// Sums of x - shift and of its square; the shift is the first row of the part, so that a mean of
// many deviations cancels before it is squared. A block for each part (x) and for the channels of
// its threads (y); threads above each other share the rows.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) batch_norm_moments(
    const T* __restrict__ x, Accumulator<T>* __restrict__ parts, long long rows, int vectors,
    int part_rows) {
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    const long long first = static_cast<long long>(blockIdx.x) * part_rows;
    const int count = min(static_cast<long long>(part_rows), rows - first);
    Accumulator<T> sum[VEC] = {};
    Accumulator<T> square[VEC] = {};
    if (c < vectors) {
        const auto shift = load<VEC>(x, first * vectors + c);
        for (int row = threadIdx.y; row < count; row += blockDim.y) {
            const auto pack = load<VEC>(x, (first + row) * vectors + c);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                const Accumulator<T> distance = widen(pack.values[k]) - widen(shift.values[k]);
                sum[k] += distance;
                square[k] += distance * distance;
            }
        }
    }
    store_part(parts, c, vectors, sum, square);
}

// Joins the parts of batch_norm_moments in double: mean and 1 / sqrt(variance + epsilon), and the
// running statistics in place. Blocks of 8 × 32 threads for eight channels each.
template <typename T>
__global__ void __launch_bounds__(256, 4) batch_norm_statistics(
    const T* __restrict__ x, const Accumulator<T>* __restrict__ parts,
    Accumulator<T>* __restrict__ running_mean, Accumulator<T>* __restrict__ running_variance,
    Accumulator<T>* __restrict__ mean, Accumulator<T>* __restrict__ scale, long long rows,
    int channels, int count, int part_rows, Accumulator<T> momentum, Accumulator<T> epsilon) {
    const int c = blockIdx.x * blockDim.x + threadIdx.x;
    double origin = 0;  // shift of the first part: all others are brought to it
    double sums[2] = {};
    if (c < channels) {
        origin = widen(x[c]);
        for (int part = threadIdx.y; part < count; part += blockDim.y) {
            const long long first = static_cast<long long>(part) * part_rows;
            const double size = min(static_cast<long long>(part_rows), rows - first);
            const double distance = widen(x[first * channels + c]) - origin;
            const double sum = parts[2LL * part * channels + c];
            const double square = parts[(2LL * part + 1) * channels + c];
            sums[0] += sum + size * distance;
            sums[1] += square + distance * (2 * sum + size * distance);
        }
    }
    sum_columns(sums);
    if (threadIdx.y > 0 || c >= channels) return;
    const double distance = sums[0] / rows;
    const double spread = sums[1] / rows - distance * distance;
    const double variance = spread < 0 ? 0 : spread;  // by rounding; NaN stays
    const double average = origin + distance;
    const double share = 1 - static_cast<double>(momentum);
    mean[c] = average;
    scale[c] = 1 / sqrt(variance + epsilon);
    running_mean[c] = momentum * running_mean[c] + share * average;
    running_variance[c] = momentum * running_variance[c] + share * variance;
}

// Mean and 1 / sqrt(variance + epsilon) of inference: copies, because training goes on.
template <typename T>
__global__ void __launch_bounds__(256) batch_norm_running(
    const Accumulator<T>* __restrict__ running_mean,
    const Accumulator<T>* __restrict__ running_variance, Accumulator<T>* __restrict__ mean,
    Accumulator<T>* __restrict__ scale, int channels, Accumulator<T> epsilon) {
    const int c = first_index();
    if (c >= channels) return;
    mean[c] = running_mean[c];
    scale[c] = 1 / sqrt(static_cast<double>(running_variance[c]) + epsilon);
}

// y = activation((x - mean) * scale * gamma + beta + residual). Blocks of x × y threads take y rows
// at a time; a thread along x keeps its channels.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) batch_norm_forward(
    const T* __restrict__ x, const T* __restrict__ residual,  // or null
    T* __restrict__ y, const Accumulator<T>* __restrict__ mean,
    const Accumulator<T>* __restrict__ scale, const Accumulator<T>* __restrict__ gamma,  // or null
    const Accumulator<T>* __restrict__ beta,  // or null
    long long rows, int vectors, int activation) {
    const long long first = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.y;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        Accumulator<T> centre[VEC], factor[VEC], shift[VEC] = {};
        load_channels(centre, mean, c);
        load_channels(factor, scale, c);
        if (beta != nullptr) load_channels(shift, beta, c);
        if (gamma != nullptr) {
#pragma unroll
            for (int k = 0; k < VEC; k++) factor[k] *= gamma[c * VEC + k];
        }
        for (long long row = first; row < rows; row += step) {
            const auto pack = load<VEC>(x, row * vectors + c);
            Accumulator<T> value[VEC];
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                value[k] = (widen(pack.values[k]) - centre[k]) * factor[k] + shift[k];
            }
            if (residual != nullptr) {
                const auto other = load<VEC>(residual, row * vectors + c);
#pragma unroll
                for (int k = 0; k < VEC; k++) value[k] += widen(other.values[k]);
            }
#pragma unroll
            for (int k = 0; k < VEC; k++) value[k] = activate(value[k], activation);
            store<VEC>(y, row * vectors + c, narrowed<T, VEC>(value));
        }
    }
}

// First pass of backward: sums of the gradient before the activation, and of its product with
// (x - mean) * scale; the gradient itself where it is asked for. `y` is null for the linear
// activation. Blocks as in batch_norm_moments.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) batch_norm_gradient_sums(
    const T* __restrict__ dy, const T* __restrict__ y,  // or null
    const T* __restrict__ x, const Accumulator<T>* __restrict__ mean,
    const Accumulator<T>* __restrict__ scale, T* __restrict__ gradient,  // or null
    Accumulator<T>* __restrict__ parts, long long rows, int vectors, int part_rows,
    int activation) {
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    const long long first = static_cast<long long>(blockIdx.x) * part_rows;
    const int count = min(static_cast<long long>(part_rows), rows - first);
    Accumulator<T> sum[VEC] = {};
    Accumulator<T> product[VEC] = {};
    if (c < vectors) {
        Accumulator<T> centre[VEC];
        load_channels(centre, mean, c);
        for (int row = threadIdx.y; row < count; row += blockDim.y) {
            const long long place = (first + row) * vectors + c;
            const auto pack = load<VEC>(x, place);
            auto change = load<VEC>(dy, place);
            if (y != nullptr) {
                const auto output = load<VEC>(y, place);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    change.values[k] = narrow<T>(differentiate(
                        widen(change.values[k]), widen(output.values[k]), activation));
                }
            }
            if (gradient != nullptr) store<VEC>(gradient, place, change);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                const Accumulator<T> value = widen(change.values[k]);
                sum[k] += value;
                product[k] += value * (widen(pack.values[k]) - centre[k]);
            }
        }
#pragma unroll
        for (int k = 0; k < VEC; k++) product[k] *= scale[c * VEC + k];
    }
    store_part(parts, c, vectors, sum, product);
}

// Second pass of backward, from the joined sums (2, C) over the batch:
// dx = scale * gamma * (gradient - sum / M - (x - mean) * scale * product / M). In inference x and
// `sums` are null, and dx = scale * gamma * gradient. Blocks as in batch_norm_forward.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) batch_norm_backward(
    const T* __restrict__ dy, const T* __restrict__ y,  // or null
    const T* __restrict__ x,                            // or null
    const Accumulator<T>* __restrict__ mean, const Accumulator<T>* __restrict__ scale,
    const Accumulator<T>* __restrict__ gamma,  // or null
    const Accumulator<T>* __restrict__ sums,   // or null
    T* __restrict__ dx, long long rows, int vectors, int activation) {
    const long long first = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.y;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        Accumulator<T> centre[VEC] = {}, factor[VEC], slope[VEC] = {}, shift[VEC] = {};
        load_channels(factor, scale, c);
        if (sums != nullptr) {
            load_channels(centre, mean, c);
            load_channels(shift, sums, c);
            load_channels(slope, sums + vectors * VEC, c);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                shift[k] /= rows;
                slope[k] *= factor[k] / rows;
            }
        }
        if (gamma != nullptr) {
#pragma unroll
            for (int k = 0; k < VEC; k++) factor[k] *= gamma[c * VEC + k];
        }
        for (long long row = first; row < rows; row += step) {
            const long long place = row * vectors + c;
            const auto change = load<VEC>(dy, place);
            Accumulator<T> value[VEC];
#pragma unroll
            for (int k = 0; k < VEC; k++) value[k] = widen(change.values[k]);
            if (y != nullptr) {
                const auto output = load<VEC>(y, place);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    value[k] = differentiate(value[k], widen(output.values[k]), activation);
                }
            }
            if (sums != nullptr) {
                const auto pack = load<VEC>(x, place);
#pragma unroll
                for (int k = 0; k < VEC; k++) {
                    value[k] -= shift[k] + (widen(pack.values[k]) - centre[k]) * slope[k];
                }
            }
#pragma unroll
            for (int k = 0; k < VEC; k++) value[k] *= factor[k];
            store<VEC>(dx, place, narrowed<T, VEC>(value));
        }
    }
}
