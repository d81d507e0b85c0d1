// Elementwise activations, alone and with the bias of a layer before them.
#include "activations.cuh"

// y = activation(y + bias) in place over rows (M, C); bias (C,). Blocks of x × y threads take y
// rows at a time; a thread along x keeps its channels, so that it reads their bias once.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) bias_activation(
    T* __restrict__ y, const T* __restrict__ bias,  // or null
    long long rows, int vectors, int activation) {
    const long long first = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    const long long step = static_cast<long long>(gridDim.x) * blockDim.y;
    for (int c = threadIdx.x; c < vectors; c += blockDim.x) {
        Accumulator<T> shift[VEC] = {};
        if (bias != nullptr) {
            const auto pack = load<VEC>(bias, c);
#pragma unroll
            for (int k = 0; k < VEC; k++) shift[k] = widen(pack.values[k]);
        }
        for (long long row = first; row < rows; row += step) {
            const auto pack = load<VEC>(y, row * vectors + c);
            Accumulator<T> value[VEC];
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                value[k] = activate(widen(pack.values[k]) + shift[k], activation);
            }
            store<VEC>(y, row * vectors + c, narrowed<T, VEC>(value));
        }
    }
}

// y = activation(x), a pack of elements for each thread at a time.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) activation_forward(
    const T* __restrict__ x, T* __restrict__ y, long long packs, int activation) {
    for (long long i = first_index(); i < packs; i += index_step()) {
        const auto pack = load<VEC>(x, i);
        Accumulator<T> value[VEC];
#pragma unroll
        for (int k = 0; k < VEC; k++) value[k] = activate(widen(pack.values[k]), activation);
        store<VEC>(y, i, narrowed<T, VEC>(value));
    }
}

// dx from dy and the output y, a pack of elements for each thread at a time.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) activation_backward(
    const T* __restrict__ dy, const T* __restrict__ y, T* __restrict__ dx, long long packs,
    int activation) {
    for (long long i = first_index(); i < packs; i += index_step()) {
        const auto gradient = load<VEC>(dy, i);
        const auto output = load<VEC>(y, i);
        Accumulator<T> value[VEC];
#pragma unroll
        for (int k = 0; k < VEC; k++) {
            value[k] =
                differentiate(widen(gradient.values[k]), widen(output.values[k]), activation);
        }
        store<VEC>(dx, i, narrowed<T, VEC>(value));
    }
}
