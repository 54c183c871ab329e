// Scalar functions that compilers turn into vector code inside loops: no calls, no branches, no library functions.
#ifndef PERMAFROST_VECTOR_MATH_H
#define PERMAFROST_VECTOR_MATH_H

#include <type_traits>

#include "kernels.h"

// Inside an inline namespace of each instruction set, so that the linker never mixes their copies.
namespace permafrost::kernels::PERMAFROST_ISA {

#define PERMAFROST_INLINE __attribute__((always_inline)) inline

PERMAFROST_INLINE float to_float(float x) { return x; }
PERMAFROST_INLINE float to_float(bf16 x) { return __builtin_bit_cast(float, static_cast<uint32_t>(x) << 16); }

// Round to nearest, ties to even; a NaN stays one.
PERMAFROST_INLINE bf16 to_bf16(float x) {
    const uint32_t bits = __builtin_bit_cast(uint32_t, x);
    const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return static_cast<bf16>((bits & 0x7fffffffu) > 0x7f800000u ? (bits >> 16) | 0x40u : rounded);
}

template <typename T>
PERMAFROST_INLINE T from_float(float x) {
    if constexpr (sizeof(T) == 2) return to_bf16(x);
    else return x;
}

// e^x within 2 ulp; 0 below -87.3, 2^127-ish above 88: 2^n times a polynomial on [-ln2/2, ln2/2].
PERMAFROST_INLINE float exponential(float x) {
    const float bounded = x < -87.3f ? -87.3f : x > 88.3f ? 88.3f : x;  // a NaN stays one
    const float shifted = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the rounded integer
    const float n = shifted - 12582912.0f;
    float r = bounded - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const int32_t exponent = (__builtin_bit_cast(int32_t, shifted) - 0x4b400000 + 127) << 23;
    const float result = p * __builtin_bit_cast(float, exponent);
    return x < -87.3f ? 0.0f : result;
}

// A small |x| would cancel in 1 - 2/(e^2x + 1): there the odd Taylor polynomial, good to 2 ulp below 0.25.
PERMAFROST_INLINE float hyperbolic_tangent(float x) {
    const float e = exponential(2.0f * (x < -15.0f ? -15.0f : x > 15.0f ? 15.0f : x));
    const float large = 1.0f - 2.0f / (e + 1.0f);
    const float s = x * x;
    const float small = x + x * s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * (0.0218694885f + s * -0.00886323553f))));
    return s < 0.0625f ? small : large;
}

// Abramowitz and Stegun 7.1.26 is too coarse for parity in float32: erf by the rational form of Cephes' ndtr.c (|x| < 1), and 1 - e^-x^2 P/Q beyond it.
PERMAFROST_INLINE float error_function(float x) {
    const float a = x < 0 ? -x : x, s = x * x;
    float near = 7.853861353153693E-5f;
    near = near * s - 8.010193625184903E-4f;
    near = near * s + 5.188327685732524E-3f;
    near = near * s - 2.685381193529856E-2f;
    near = near * s + 1.128358514861418E-1f;
    near = near * s - 3.761262582423300E-1f;
    near = near * s + 1.128379165726710E+0f;
    const float b = a < 1.0f ? 1.0f : a > 9.0f ? 9.0f : a, z = exponential(-b * b), q = 1.0f / b, y = q * q;
    float low = 2.326819970068386E-2f;  // 1 <= a < 2
    low = low * y - 1.387039388740657E-1f;
    low = low * y + 3.687424674597105E-1f;
    low = low * y - 5.824733027278666E-1f;
    low = low * y + 6.210004621745983E-1f;
    low = low * y - 4.944515323274145E-1f;
    low = low * y + 3.404879937665872E-1f;
    low = low * y - 2.741127028184656E-1f;
    low = low * y + 5.638259427386472E-1f;
    float high = -1.047766399936249E+1f;  // a >= 2
    high = high * y + 1.297719955372516E+1f;
    high = high * y - 7.495518717768503E+0f;
    high = high * y + 2.921019019210786E+0f;
    high = high * y - 1.015265279202700E+0f;
    high = high * y + 4.218463358204948E-1f;
    high = high * y - 2.820767439740514E-1f;
    high = high * y + 5.641895067754075E-1f;
    const float tail = 1.0f - z * q * (b < 2.0f ? low : high);
    return a < 1.0f ? near * x : x < 0 ? -tail : tail;
}

struct Value {
    float y, slope;
};

// An activation and its derivative at x. Coarse: as exact as a bfloat16 result shows, an absolute 2e-7.
template <Activation A, bool Coarse = false>
PERMAFROST_INLINE Value activation(float x) {
    if constexpr (A == Activation::GeluTanh) {
        constexpr float k = 0.7978845608028654f, c = 0.044715f;
        const float s = x * x, u = k * x * (1.0f + c * s), t = Coarse ? 1.0f - 2.0f / (exponential(2.0f * u) + 1.0f) : hyperbolic_tangent(u);
        return {0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * k * (1.0f + 3.0f * c * s)};
    } else if constexpr (A == Activation::GeluErf && Coarse) {
        // Abramowitz and Stegun 7.1.26, within 1.5e-7: one exponential serves the value and the slope.
        const float e = exponential(-0.5f * x * x), t = 1.0f / (1.0f + 0.23164189f * (x < 0 ? -x : x));
        const float tail = e * t * (0.127414796f + t * (-0.142248368f + t * (0.7107068705f + t * (-0.7265760135f + t * 0.5307027145f))));
        const float phi = x < 0 ? tail : 1.0f - tail;
        return {x * phi, phi + x * 0.3989422804014327f * e};
    } else if constexpr (A == Activation::GeluErf) {
        const float phi = 0.5f * (1.0f + error_function(x * 0.7071067811865475f));
        return {x * phi, phi + x * 0.3989422804014327f * exponential(-0.5f * x * x)};
    } else if constexpr (A == Activation::Relu) {
        return {x <= 0 ? 0.0f : x, x <= 0 ? 0.0f : 1.0f};  // a NaN stays one
    } else if constexpr (A == Activation::Silu || A == Activation::QuickGelu) {
        constexpr float k = A == Activation::Silu ? 1.0f : 1.702f;
        const float s = 1.0f / (1.0f + exponential(-k * x));
        return {x * s, s * (1.0f + k * x * (1.0f - s))};
    } else if constexpr (A == Activation::Sigmoid) {
        const float s = 1.0f / (1.0f + exponential(-x));
        return {s, s * (1.0f - s)};
    } else if constexpr (A == Activation::Tanh) {
        const float t = hyperbolic_tangent(x);
        return {t, 1.0f - t * t};
    } else if constexpr (A == Activation::Mish) {
        // tanh(log(1 + e^x)) without a logarithm: n / (n + 2) of n = e^x (e^x + 2); beyond 20 it is 1.
        const float e = exponential(x > 20.0f ? 20.0f : x), n = e * (e + 2.0f), t = n / (n + 2.0f);
        return {x * t, t + x * (1.0f - t * t) * (e / (e + 1.0f))};
    } else if constexpr (A == Activation::Relu6) {
        return {x <= 0 ? 0.0f : x >= 6.0f ? 6.0f : x, x <= 0 || x >= 6.0f ? 0.0f : 1.0f};
    } else if constexpr (A == Activation::Gelu10) {
        const Value gelu = activation<Activation::GeluErf, Coarse>(x);
        return {gelu.y > 10.0f ? 10.0f : gelu.y, gelu.y > 10.0f ? 0.0f : gelu.slope};  // never below -0.17
    } else {
        return {x, 1.0f};
    }
}

// Calls f with the activation as a compile-time constant.
template <typename F>
PERMAFROST_INLINE void with_activation(Activation activation, F&& f) {
    switch (activation) {
        case Activation::GeluTanh: f(std::integral_constant<Activation, Activation::GeluTanh>()); break;
        case Activation::GeluErf: f(std::integral_constant<Activation, Activation::GeluErf>()); break;
        case Activation::Relu: f(std::integral_constant<Activation, Activation::Relu>()); break;
        case Activation::Silu: f(std::integral_constant<Activation, Activation::Silu>()); break;
        case Activation::QuickGelu: f(std::integral_constant<Activation, Activation::QuickGelu>()); break;
        case Activation::Sigmoid: f(std::integral_constant<Activation, Activation::Sigmoid>()); break;
        case Activation::Tanh: f(std::integral_constant<Activation, Activation::Tanh>()); break;
        case Activation::Mish: f(std::integral_constant<Activation, Activation::Mish>()); break;
        case Activation::Relu6: f(std::integral_constant<Activation, Activation::Relu6>()); break;
        case Activation::Gelu10: f(std::integral_constant<Activation, Activation::Gelu10>()); break;
        default: f(std::integral_constant<Activation, Activation::None>()); break;
    }
}

// Wellons' lowbias32: every bit of x changes every bit of the result with a probability near a half.
// Of one number, or of a vector of them.
template <typename T>
PERMAFROST_INLINE T mix(T x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

// Dropout's decision for the elements of one row: a function of the draw's key, the row and the index within the row, so that backward repeats it instead of
// reading a mask, and neither the number of threads nor the other rows change it. DropoutDraw.cs composes the same.
struct Keep {
    uint32_t low, threshold;
    float scale;

    PERMAFROST_INLINE explicit Keep(const pf_dropout& dropout)
        : low(static_cast<uint32_t>(dropout.key)),
          threshold(static_cast<uint32_t>(static_cast<float>(dropout.probability) * 4294967296.0)),
          scale(1.0f / (1.0f - static_cast<float>(dropout.probability))) {}

    PERMAFROST_INLINE static uint32_t row_key(const pf_dropout& dropout, int64_t row) {
        return mix(static_cast<uint32_t>(dropout.first_row + row) * 0x9e3779b9u ^ static_cast<uint32_t>(dropout.key >> 32));
    }
    PERMAFROST_INLINE static uint32_t head_key(uint32_t row_key, int64_t head) { return mix(row_key ^ static_cast<uint32_t>(head + 1) * 0x9e3779b9u); }
    PERMAFROST_INLINE static uint32_t query_key(uint32_t head_key, int64_t query) { return mix(head_key ^ static_cast<uint32_t>(query + 1) * 0x85ebca6bu); }

    // 0, or 1 / (1 - p).
    PERMAFROST_INLINE float factor(uint32_t row_key, uint32_t index) const { return mix(mix(index + low) ^ row_key) >= threshold ? scale : 0.0f; }
};

}  // namespace permafrost::kernels::PERMAFROST_ISA

#endif
