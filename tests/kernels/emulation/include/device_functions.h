// The part of CUDA C++ that our kernels use: keywords, barriers, warp primitives, atomics, arithmetic.
#pragma once
#include <math.h>
#include <string.h>

#include "scheduler.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __shared__ static thread_local  // its own piece of memory: see SharedMemory
#define __constant__ static const

// Barriers and warp primitives. They are functions, not macros: Site is where a kernel calls them.

inline void __syncthreads(emulation::Site site = emulation::Site::here()) {
    emulation::wait_as(emulation::State::at_barrier, site);
}

namespace emulation {

inline int lane() { return current % warpSize; }

template <typename T> T shuffle(unsigned mask, T value, int source, Site site) {
    static_assert(sizeof(T) <= sizeof(unsigned long long), "shuffles move at most 8 bytes");
    Exchange given{mask, source, false, 0, 0};
    memcpy(&given.value, &value, sizeof value);
    const Exchange taken = exchange_in_warp(given, site);
    memcpy(&value, &taken.value, sizeof value);
    return value;
}

inline unsigned ballot(unsigned mask, bool vote, Site site) {
    return exchange_in_warp({mask, lane(), vote, 0, 0}, site).ballot;
}

}  // namespace emulation

inline void __syncwarp(unsigned mask = 0xffffffffu,
                       emulation::Site site = emulation::Site::here()) {
    emulation::ballot(mask, false, site);
}

// A lane that would read outside its group of `width` lanes gets its own value back.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = warpSize,
              emulation::Site site = emulation::Site::here()) {
    const int first = emulation::lane() & ~(width - 1);
    return emulation::shuffle(mask, value, first | (source & (width - 1)), site);
}

template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                 emulation::Site site = emulation::Site::here()) {
    const int lane = emulation::lane();
    const int source = lane - static_cast<int>(delta);
    return emulation::shuffle(mask, value, source < (lane & ~(width - 1)) ? lane : source, site);
}

template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = warpSize,
                   emulation::Site site = emulation::Site::here()) {
    const int lane = emulation::lane();
    const int source = lane + static_cast<int>(delta);
    return emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, site);
}

template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int distance, int width = warpSize,
                  emulation::Site site = emulation::Site::here()) {
    const int lane = emulation::lane();
    const int source = lane ^ distance;
    return emulation::shuffle(mask, value, source > (lane | (width - 1)) ? lane : source, site);
}

inline unsigned __ballot_sync(unsigned mask, int predicate,
                              emulation::Site site = emulation::Site::here()) {
    return emulation::ballot(mask, predicate != 0, site);
}
inline int __any_sync(unsigned mask, int predicate,
                      emulation::Site site = emulation::Site::here()) {
    return emulation::ballot(mask, predicate != 0, site) != 0;
}
inline int __all_sync(unsigned mask, int predicate,
                      emulation::Site site = emulation::Site::here()) {
    return emulation::ballot(mask, predicate == 0, site) == 0;
}

// Atomics: threads switch at barriers only, so that plain arithmetic is atomic.

namespace emulation {

template <typename T> T replace(T* target, T value) {
    const T old = *target;
    *target = value;
    return old;
}

}  // namespace emulation

inline int atomicAdd(int* p, int v) { return emulation::replace(p, *p + v); }
inline unsigned atomicAdd(unsigned* p, unsigned v) { return emulation::replace(p, *p + v); }
inline unsigned long long atomicAdd(unsigned long long* p, unsigned long long v) {
    return emulation::replace(p, *p + v);
}
inline float atomicAdd(float* p, float v) { return emulation::replace(p, *p + v); }
inline double atomicAdd(double* p, double v) { return emulation::replace(p, *p + v); }
inline int atomicMax(int* p, int v) { return emulation::replace(p, *p < v ? v : *p); }
inline unsigned atomicMax(unsigned* p, unsigned v) {
    return emulation::replace(p, *p < v ? v : *p);
}

// Arithmetic. What is missing here comes from <math.h>.

#define EMULATION_SMALLER_AND_LARGER(T)              \
    inline T min(T a, T b) { return b < a ? b : a; } \
    inline T max(T a, T b) { return a < b ? b : a; }
EMULATION_SMALLER_AND_LARGER(int)
EMULATION_SMALLER_AND_LARGER(unsigned)
EMULATION_SMALLER_AND_LARGER(long long)
EMULATION_SMALLER_AND_LARGER(unsigned long long)
#undef EMULATION_SMALLER_AND_LARGER
inline float min(float a, float b) { return fminf(a, b); }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

inline float rsqrtf(float value) { return 1.0f / sqrtf(value); }
inline float rsqrt(float value) { return 1.0f / sqrtf(value); }
inline double rsqrt(double value) { return 1.0 / sqrt(value); }
inline float __expf(float value) { return expf(value); }
inline float __logf(float value) { return logf(value); }

inline unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
template <typename T> T __ldg(const T* source) { return *source; }

namespace emulation {

template <typename To, typename From> To same_bits(From value) {
    static_assert(sizeof(To) == sizeof(From));
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

}  // namespace emulation

inline float __int_as_float(int bits) { return emulation::same_bits<float>(bits); }
inline float __uint_as_float(unsigned bits) { return emulation::same_bits<float>(bits); }
inline int __float_as_int(float value) { return emulation::same_bits<int>(value); }
inline unsigned __float_as_uint(float value) { return emulation::same_bits<unsigned>(value); }
