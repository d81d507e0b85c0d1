// Kernels with barriers for the tests of the emulator: mistakes, each for one check to find, and
// correct ones. Blocks are of one warp or two.

// Reads its left neighbour's value before it is sure to be there.
__global__ void __launch_bounds__(64) reads_too_early(const float* x, float* y) {
    __shared__ float values[64];
    values[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = values[threadIdx.x > 0 ? threadIdx.x - 1 : 0];
    __syncthreads();
}

// Writes its value a second time, when its left neighbour may not have read the first.
__global__ void __launch_bounds__(64) writes_too_early(const float* x, float* y) {
    __shared__ float values[64];
    values[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = values[threadIdx.x < 63 ? threadIdx.x + 1 : 63];
    values[threadIdx.x] = -1;
}

__global__ void __launch_bounds__(64) diverges(float* y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = 0;
}

__global__ void __launch_bounds__(64) leaves_early(float* y, int count) {
    if (threadIdx.x >= static_cast<unsigned>(count)) return;
    __syncthreads();
    y[threadIdx.x] = 0;
}

// Shared memory, also of a template's function, whose last element nobody writes.
template <typename T> __device__ T last_of_shared() {
    __shared__ T values[32];
    if (threadIdx.x < 31) values[threadIdx.x] = 0;
    __syncthreads();
    return values[31];
}
template <typename T> __global__ void __launch_bounds__(64) reads_what_nobody_wrote(T* y) {
    __shared__ T values[2];
    if (threadIdx.x == 0) values[0] = 0;
    __syncthreads();
    const T last = last_of_shared<T>();
    y[2 * blockIdx.x] = values[1];
    y[2 * blockIdx.x + 1] = last;
    __syncthreads();
    values[1] = 0;  // the next block must not find it
}

__global__ void __launch_bounds__(64) asks_an_absent_lane(const float* x, float* y, int source) {
    if (threadIdx.x < 16) y[threadIdx.x] = __shfl_sync(0xffffu, x[threadIdx.x], source);
}

__global__ void __launch_bounds__(64) is_not_in_its_mask(float* y) {
    y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 1);
}

__global__ void __launch_bounds__(64) splits_a_warp(float* y) {
    if (threadIdx.x % 32 < 16) {
        y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);
    } else {
        y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 2.0f, 1);
    }
}

__global__ void __launch_bounds__(64) waits_for_a_lane_at_a_barrier(float* y) {
    if (threadIdx.x == 5) __syncthreads();
    __syncwarp();
    y[threadIdx.x] = 0;
}

__device__ __noinline__ int deeper(int level, volatile int* trace) {
    volatile int frame[64];
    frame[level & 63] = level;
    return level < 0 ? frame[0] : deeper(level + 1, frame) + *trace;
}
__global__ void __launch_bounds__(64) uses_up_its_stack(int* y) {
    int start = 0;
    y[threadIdx.x] = deeper(0, &start);
    __syncthreads();
}

// Every shuffle in groups of `width` lanes, and the votes of the warp.
__global__ void __launch_bounds__(64) warp_primitives(
    const int* x, int* indexed, int* up, int* down, int* crossed, unsigned int* votes, int by,
    int width) {
    const int value = x[threadIdx.x];
    indexed[threadIdx.x] = __shfl_sync(0xffffffffu, value, by, width);
    up[threadIdx.x] = __shfl_up_sync(0xffffffffu, value, by, width);
    down[threadIdx.x] = __shfl_down_sync(0xffffffffu, value, by, width);
    crossed[threadIdx.x] = __shfl_xor_sync(0xffffffffu, value, by, width);
    const unsigned odd = __ballot_sync(0xffffffffu, value & 1);
    const bool any = __any_sync(0xffffffffu, value & 1), all = __all_sync(0xffffffffu, value & 1);
    votes[3 * threadIdx.x] = odd;
    votes[3 * threadIdx.x + 1] = any;
    votes[3 * threadIdx.x + 2] = all;
}

// The sum of each block: shuffles, then shared memory; lanes beyond `count` have left.
__global__ void __launch_bounds__(64) sums(const double* x, double* y) {
    __shared__ double of_warps[2];
    double sum = x[blockIdx.x * blockDim.x + threadIdx.x];
    for (int distance = 16; distance > 0; distance /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, distance);
    }
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x == 0) y[blockIdx.x] = of_warps[0] + of_warps[1];
}
