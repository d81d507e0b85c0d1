// Kernels without barriers for the tests of the emulator: mistakes, and correct ones.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__global__ void __launch_bounds__(256) writes_at(float* y, int place) { y[place] = 1; }

__global__ void __launch_bounds__(256) reads_at(const float* x, float* y, int place) {
    y[0] = x[place];
}

__global__ void __launch_bounds__(256) divides(int* y, int divisor) {
    y[threadIdx.x] = 7 / (static_cast<int>(threadIdx.x) - divisor);
}

struct alignas(16) Four {
    float values[4];
};
__global__ void __launch_bounds__(256) copies_vectors(const float* x, float* y) {
    *reinterpret_cast<Four*>(y) = *reinterpret_cast<const Four*>(x);
}

__global__ void __launch_bounds__(256) overflows(int* y, int value) { y[0] = value + 1; }

template <typename T> struct Other;
template <> struct Other<float> { using type = int; };

// Its first parameter's type is not to be read from the text alone.
template <typename T> __global__ void __launch_bounds__(256) takes_many_types(
    const typename Other<T>::type* a, T* b, unsigned char c, unsigned int d, long long e,
    unsigned long long f, double g, bool h, __half* i, const __nv_bfloat16* j) {
    b[0] = a[0] + c + d + e + f + g + h + __half2float(i[0]) + __bfloat162float(j[0]);
}

__global__ void __launch_bounds__(256) halves(
    const float* x, __half* half, __nv_bfloat16* brain, float* from_half, float* from_brain,
    int count) {
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        half[i] = __float2half(x[i]);
        brain[i] = __float2bfloat16(x[i]);
        from_half[i] = __half2float(__ushort_as_half(static_cast<unsigned short>(i)));
        from_brain[i] = __bfloat162float(__ushort_as_bfloat16(static_cast<unsigned short>(i)));
    }
}

// What the host has not of itself, of two numbers; atomics in the order of threads.
__global__ void __launch_bounds__(256) arithmetic(
    const float* a, const float* b, float* floats, double* doubles, unsigned int* words) {
    const float x = __ldg(a), y = __ldg(b);
    const float results[] = {min(x, y), max(x, y), rsqrtf(x), rsqrt(x), __expf(x), __logf(x)};
    for (int i = 0; i < 6; i++) floats[i] = results[i];
    doubles[0] = rsqrt(static_cast<double>(x));
    doubles[1] = min(static_cast<double>(x), static_cast<double>(y));
    doubles[2] = max(static_cast<double>(x), static_cast<double>(y));
    words[0] = __float_as_uint(x);
    words[1] = __float_as_uint(__int_as_float(__float_as_int(y)));
    words[2] = __umulhi(words[0], words[1]);
    words[3] = min(words[0], words[1]);
    words[4] = max(words[0], words[1]);
}

// Each returns the value before.
__global__ void __launch_bounds__(256) atomics(
    const int* x, int* sum, unsigned int* most, double* wide, int* before) {
    before[2 * threadIdx.x] = atomicAdd(sum, x[threadIdx.x]);
    before[2 * threadIdx.x + 1] = atomicMax(most, static_cast<unsigned>(x[threadIdx.x]));
    atomicAdd(wide, 0.5 * x[threadIdx.x]);
}

// In which order threads run: each takes the next number.
__global__ void __launch_bounds__(256) numbers(int* counter, int* y) {
    const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const int thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int threads = blockDim.x * blockDim.y * blockDim.z;
    y[block * threads + thread] = atomicAdd(counter, 1);
}

// Its name for a barrier is not to be seen in the text.
#define JOINED(begin, end) begin##end
__global__ void __launch_bounds__(256) hides_a_barrier(float* y) {
    if (threadIdx.x == 3) JOINED(__syn, cthreads)();
    y[threadIdx.x] = 0;
}
