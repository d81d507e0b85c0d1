// Optimizer updates over flat buffers, in place. Threads take packs of VEC elements; the few behind
// the last whole pack are taken one by one. Unless `scale` is over 0 the step is skipped.
#include "common.cuh"

// The factor of the gradient.
template <typename T> __device__ __forceinline__ T factor(const T* scale) {
    return scale == nullptr ? 1 : *scale;
}

// The numbers of one SGD step; see SGDUpdate of ops/updates.py.
template <typename T> struct SGD {
    T scale, learning_rate, momentum, weight_decay;
    bool nesterov;

    __device__ __forceinline__ void step(T& value, T grad, T& velocity) const {
        grad *= scale;
        if (weight_decay != 0) grad += weight_decay * value;
        const T change = learning_rate * grad;
        velocity = momentum * velocity - change;
        value += nesterov ? momentum * velocity - change : velocity;
    }
};

template <int VEC, typename T>
__device__ __forceinline__ void sgd_pack(
    const SGD<T>& sgd, T* value, const T* grad, T* velocity, long long index) {
    auto values = load<VEC>(value, index);
    const auto grads = load<VEC>(grad, index);
    Pack<T, VEC> velocities = {};
    if (sgd.momentum != 0) velocities = load<VEC>(velocity, index);
#pragma unroll
    for (int k = 0; k < VEC; k++) sgd.step(values.values[k], grads.values[k], velocities.values[k]);
    store<VEC>(value, index, values);
    if (sgd.momentum != 0) store<VEC>(velocity, index, velocities);
}

// Stochastic gradient descent. Without momentum the velocity is neither read nor written.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) sgd_update(
    T* __restrict__ value, const T* __restrict__ grad, T* __restrict__ velocity,
    const T* __restrict__ scale,  // or null
    long long size, T learning_rate, T momentum, T weight_decay, int nesterov) {
    const SGD<T> sgd = {factor(scale), learning_rate, momentum, weight_decay, nesterov != 0};
    if (!(sgd.scale > 0)) return;
    const long long packs = size / VEC;
    for (long long i = first_index(); i < packs; i += index_step()) {
        sgd_pack<VEC>(sgd, value, grad, velocity, i);
    }
    for (long long i = packs * VEC + first_index(); i < size; i += index_step()) {
        sgd_pack<1>(sgd, value, grad, velocity, i);
    }
}

// The numbers of one Adam step, computed in double by the host; see AdamUpdate of ops/updates.py.
template <typename T> struct Adam {
    T scale;
    T keep_first, take_first;    // beta_1 and 1 - beta_1
    T keep_second, take_second;  // beta_2 and 1 - beta_2
    T rate;                      // learning rate over the bias correction of the first moment
    T correction;                // the root of the second moment's bias correction
    T epsilon;
    T shrink;  // what weight decay leaves of the value

    __device__ __forceinline__ void step(T& value, T grad, T& first, T& second) const {
        grad *= scale;
        first = keep_first * first + take_first * grad;
        second = keep_second * second + take_second * grad * grad;
        value = shrink * value - rate * first / (root(second) / correction + epsilon);
    }

    __device__ static float root(float x) { return sqrtf(x); }
    __device__ static double root(double x) { return sqrt(x); }
};

template <int VEC, typename T>
__device__ __forceinline__ void adam_pack(
    const Adam<T>& adam, T* value, const T* grad, T* first, T* second, long long index) {
    auto values = load<VEC>(value, index);
    const auto grads = load<VEC>(grad, index);
    auto firsts = load<VEC>(first, index);
    auto seconds = load<VEC>(second, index);
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        adam.step(values.values[k], grads.values[k], firsts.values[k], seconds.values[k]);
    }
    store<VEC>(value, index, values);
    store<VEC>(first, index, firsts);
    store<VEC>(second, index, seconds);
}

template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) adam_update(
    T* __restrict__ value, const T* __restrict__ grad, T* __restrict__ first,
    T* __restrict__ second, const T* __restrict__ scale,  // or null
    long long size, T keep_first, T take_first, T keep_second, T take_second, T rate, T correction,
    T epsilon, T shrink) {
    const Adam<T> adam = {
        factor(scale), keep_first, take_first, keep_second, take_second,
        rate, correction, epsilon, shrink};
    if (!(adam.scale > 0)) return;
    const long long packs = size / VEC;
    for (long long i = first_index(); i < packs; i += index_step()) {
        adam_pack<VEC>(adam, value, grad, first, second, i);
    }
    for (long long i = packs * VEC + first_index(); i < size; i += index_step()) {
        adam_pack<1>(adam, value, grad, first, second, i);
    }
}

template <int VEC, typename T>
__device__ __forceinline__ void average_pack(
    T* average, const T* value, T keep, T take, long long index) {
    auto averages = load<VEC>(average, index);
    const auto values = load<VEC>(value, index);
#pragma unroll
    for (int k = 0; k < VEC; k++) {
        averages.values[k] = keep * averages.values[k] + take * values.values[k];
    }
    store<VEC>(average, index, averages);
}

// average = keep * average + take * value.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) average_update(
    T* __restrict__ average, const T* __restrict__ value, long long size, T keep, T take) {
    const long long packs = size / VEC;
    for (long long i = first_index(); i < packs; i += index_step()) {
        average_pack<VEC>(average, value, keep, take, i);
    }
    for (long long i = packs * VEC + first_index(); i < size; i += index_step()) {
        average_pack<1>(average, value, keep, take, i);
    }
}
