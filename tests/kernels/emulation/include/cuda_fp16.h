// Stands in for CUDA's header of the same name: float16 as a stored type, converted by hand.
#pragma once
#include <string.h>

struct __half {
    unsigned short bits;
};

inline __half __ushort_as_half(unsigned short bits) { return {bits}; }

// To nearest, ties to even; NaN becomes CUDA's one NaN.
inline __half __float2half_rn(float value) {
    unsigned bits;
    memcpy(&bits, &value, sizeof bits);
    const unsigned short sign = static_cast<unsigned short>(bits >> 16 & 0x8000);
    bits &= 0x7fffffff;
    unsigned half;
    if (bits > 0x7f800000) return {0x7fff};
    if (bits >= 0x477ff000) {  // 65520 and above round to infinity
        half = 0x7c00;
    } else if (bits < 0x38800000) {  // subnormal: units of 2^-24, which are the last bit of 0.5
        float sum;
        memcpy(&sum, &bits, sizeof sum);
        sum += 0.5f;
        memcpy(&half, &sum, sizeof half);
        half -= 0x3f000000;
    } else {  // the exponent's bias goes from 127 to 15
        half = (bits - (112u << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
    }
    return {static_cast<unsigned short>(half | sign)};
}
inline __half __float2half(float value) { return __float2half_rn(value); }

inline float __half2float(__half half) {
    const unsigned sign = (half.bits & 0x8000u) << 16;
    const unsigned exponent = half.bits >> 10 & 0x1f;
    const unsigned mantissa = half.bits & 0x3ff;
    if (exponent == 0) {  // zero or subnormal
        const float magnitude = static_cast<float>(mantissa) * (1.0f / 16777216.0f);
        return sign ? -magnitude : magnitude;
    }
    const unsigned wide = exponent == 31 ? 0xff : exponent + 112;
    const unsigned bits = sign | wide << 23 | mantissa << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
