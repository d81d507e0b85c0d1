// What every kernel uses: types, conversions, and loads of several elements at once.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Sums are taken in float32, and in float64 for float64.
template <typename T> struct AccumulatorOf { using type = float; };
template <> struct AccumulatorOf<double> { using type = double; };
template <typename T> using Accumulator = typename AccumulatorOf<T>::type;

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ double widen(double value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }
__device__ __forceinline__ float widen(unsigned char value) { return value; }

template <typename T> __device__ __forceinline__ T narrow(Accumulator<T> value) { return value; }
template <> __device__ __forceinline__ __half narrow<__half>(float value) {
    return __float2half(value);
}
template <> __device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float value) {
    return __float2bfloat16(value);
}

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

// VEC neighbouring elements, moved by one instruction of up to 16 bytes.
template <typename T, int VEC> struct alignas(sizeof(T) * VEC) Pack {
    T values[VEC];
};

// Reads elements `index` * VEC and following; the pointer is aligned to a whole pack.
template <int VEC, typename T>
__device__ __forceinline__ Pack<T, VEC> load(const T* source, long long index) {
    return reinterpret_cast<const Pack<T, VEC>*>(source)[index];
}

template <int VEC, typename T>
__device__ __forceinline__ void store(T* target, long long index, const Pack<T, VEC>& pack) {
    reinterpret_cast<Pack<T, VEC>*>(target)[index] = pack;
}

// A pack of sums, rounded to the type that is stored.
template <typename T, int VEC>
__device__ __forceinline__ Pack<T, VEC> narrowed(const Accumulator<T> (&values)[VEC]) {
    Pack<T, VEC> pack;
#pragma unroll
    for (int k = 0; k < VEC; k++) pack.values[k] = narrow<T>(values[k]);
    return pack;
}

// Which of `count` windows, `stride` apart, begins at pixel `start`; -1 where none does.
__device__ __forceinline__ int window_of(int start, int stride, int count) {
    if (start < 0) return -1;
    const int window = start / stride;
    return window < count && window * stride == start ? window : -1;
}

// This thread's number among all threads along x, and how many there are: arrays may be larger
// than 2^31 elements.
__device__ __forceinline__ long long first_index() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
__device__ __forceinline__ long long index_step() {
    return static_cast<long long>(gridDim.x) * blockDim.x;
}
