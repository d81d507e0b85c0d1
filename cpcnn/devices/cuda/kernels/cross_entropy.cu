// Softmax and cross-entropy of logits (N, K) against labels (N,): one warp for each row, its lanes
// beside each other on the classes.
#include "activations.cuh"
#include "reduction.cuh"

// losses = -sum(target * log_softmax(logits)), and in `gradient` softmax(logits) - target. The
// target is `spread` for every class, and `certainty` more for the label, if there is a class of
// its number.
template <typename T, typename Label>
__global__ void __launch_bounds__(256, 3) cross_entropy(
    const T* __restrict__ logits, const Label* __restrict__ labels, T* __restrict__ losses,
    T* __restrict__ gradient,  // or null
    long long rows, int classes, Accumulator<T> certainty, Accumulator<T> spread) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;  // the whole warp
    const Label label = labels[row];
    logits += row * classes;
    if (gradient != nullptr) gradient += row * classes;
    Accumulator<T> largest = -infinity();
    for (int c = threadIdx.x; c < classes; c += WARP) {
        const Accumulator<T> logit = widen(logits[c]);
        if (logit > largest) largest = logit;  // a NaN makes the sum NaN, so it is not lost here
    }
    largest = warp_max(largest);
    Accumulator<T> sum = 0;
    for (int c = threadIdx.x; c < classes; c += WARP) sum += exponential(
        widen(logits[c]) - largest);
    const Accumulator<T> log_sum = logarithm(warp_sum(sum));
    Accumulator<T> loss = 0;
    for (int c = threadIdx.x; c < classes; c += WARP) {
        const Accumulator<T> log_p = widen(logits[c]) - largest - log_sum;
        const Accumulator<T> target = (c == label ? certainty : 0) + spread;
        loss -= target * log_p;
        if (gradient != nullptr) gradient[c] = narrow<T>(exponential(log_p) - target);
    }
    loss = warp_sum(loss);
    if (threadIdx.x == 0) losses[row] = narrow<T>(loss);
}

// dx = gradient * dy: each row with its own weight.
template <typename T>
__global__ void __launch_bounds__(256, 4) weigh_rows(
    const T* __restrict__ gradient, const T* __restrict__ dy, T* __restrict__ dx, long long rows,
    int classes) {
    const long long row = static_cast<long long>(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows) return;
    const Accumulator<T> weight = widen(dy[row]);
    for (int c = threadIdx.x; c < classes; c += WARP) {
        const long long place = row * classes + c;
        dx[place] = narrow<T>(widen(gradient[place]) * weight);
    }
}
