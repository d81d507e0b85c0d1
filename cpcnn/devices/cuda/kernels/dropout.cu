// Dropout, and its gradient: the same kernel, since the mask is drawn anew instead of kept.
#include "common.cuh"
#include "philox.cuh"

// y = x * scale where the random word of the element is at least `threshold`, else 0. Element i has
// word i % 4 of counter i / 4. Each thread takes groups of neighbouring elements, so that no
// counter is drawn twice; the last pack of an array may be short.
template <typename T, int VEC>
__global__ void __launch_bounds__(256, 4) dropout(
    const T* __restrict__ x, T* __restrict__ y, long long size, unsigned long long threshold,
    Accumulator<T> scale, unsigned int epoch, unsigned int stream, unsigned int key_0,
    unsigned int key_1) {
    constexpr int GROUP = VEC < 4 ? 4 : VEC;
    const long long groups = (size + GROUP - 1) / GROUP;
    for (long long group = first_index(); group < groups; group += index_step()) {
        Words words[GROUP / 4];
#pragma unroll
        for (int k = 0; k < GROUP / 4; k++) {
            words[k] = philox(group * (GROUP / 4) + k, epoch, stream, key_0, key_1);
        }
#pragma unroll
        for (int first = 0; first < GROUP; first += VEC) {
            const long long start = group * GROUP + first;
            const bool whole = start + VEC <= size;
            Pack<T, VEC> pack;
            if (whole) pack = load<VEC>(x, start / VEC);
#pragma unroll
            for (int k = 0; k < VEC; k++) {
                if (!whole && start + k >= size) break;
                const T value = whole ? pack.values[k] : x[start + k];
                const bool kept = words[(first + k) / 4].values[(first + k) % 4] >= threshold;
                pack.values[k] = narrow<T>(kept ? widen(value) * scale : 0);
                if (!whole) y[start + k] = pack.values[k];
            }
            if (whole) store<VEC>(y, start / VEC, pack);
        }
    }
}
