// Convolution along time, each channel by itself: the inputs are read in place, tap after tap, and never copied side by side. What a channel multiplies with is laid out as
// rows of `width` numbers, one for each tap: once a call where all outputs share the taps, for each output and tap where they are its own.
#include <algorithm>
#include <memory>
#include <type_traits>

#include "vector_math.h"

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

template <typename F>
void with_type(Type type, F&& f) {
    if (type == Type::Float) f(float());
    else f(bf16());
}

// One tap of every channel, from taps (heads, taps).
void spread(const pf_convolution_args& a, const float* taps, int64_t tap, float* row) {
    const int64_t shared = a.width / a.heads;
    if (a.alternating != 0) {
        for (int64_t r = 0; r < shared; r++)
            for (int64_t h = 0; h < a.heads; h++) row[r * a.heads + h] = taps[h * a.taps + tap];
        return;
    }
    for (int64_t h = 0; h < a.heads; h++) std::fill(row + h * shared, row + (h + 1) * shared, taps[h * a.taps + tap]);
}

// For each head, the sum of x over its channels.
void gather(const pf_convolution_args& a, const float* x, float* sums) {
    const int64_t shared = a.width / a.heads;
    if (a.alternating != 0) {
        std::fill(sums, sums + a.heads, 0.0f);
        for (int64_t r = 0; r < shared; r++) {
#pragma omp simd
            for (int64_t h = 0; h < a.heads; h++) sums[h] += x[r * a.heads + h];
        }
        return;
    }
    for (int64_t h = 0; h < a.heads; h++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t r = 0; r < shared; r++) sum += x[h * shared + r];
        sums[h] = sum;
    }
}

bool reads(const pf_convolution_args& a, int64_t row, int64_t input) {
    return input >= 0 && input < a.inputs && (a.mask == nullptr || a.mask[row * a.inputs + input] != 0);
}

// The taps of one output for one tap: those that all share, or its own, laid out in `own`.
PERMAFROST_INLINE const float* taps_of(const pf_convolution_args& a, const float* rows, int64_t output, int64_t tap, float* own) {
    if (rows != nullptr) return rows + tap * a.width;
    spread(a, a.weights + output * a.heads * a.taps, tap, own);
    return own;
}

template <typename T>
void forward_of(const pf_convolution_args& a, const float* rows, int64_t begin, int64_t end) {
    const int64_t width = a.width;
    const std::unique_ptr<float[]> scratch(new float[2 * width]);
    float *sum = scratch.get(), *own = sum + width;
    for (int64_t output = begin; output < end; output++) {
        const int64_t row = output / a.outputs, t = output % a.outputs;
        if (a.bias != nullptr) std::copy(a.bias, a.bias + width, sum);
        else std::fill(sum, sum + width, 0.0f);
        for (int64_t tap = 0; tap < a.taps; tap++) {
            const int64_t input = t - a.left + tap * a.dilation;
            if (!reads(a, row, input)) continue;
            const float* w = taps_of(a, rows, output, tap, own);
            const T* x = static_cast<const T*>(a.x) + (row * a.inputs + input) * width;
#pragma omp simd
            for (int64_t c = 0; c < width; c++) sum[c] += w[c] * to_float(x[c]);
        }
        T* y = static_cast<T*>(a.y) + output * width;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) y[c] = from_float<T>(sum[c]);
    }
}

template <typename T>
void inputs_of(const pf_convolution_args& a, const float* rows, int64_t begin, int64_t end) {
    const int64_t width = a.width;
    const std::unique_ptr<float[]> scratch(new float[2 * width]);
    float *sum = scratch.get(), *own = sum + width;
    for (int64_t at = begin; at < end; at++) {
        const int64_t row = at / a.inputs, input = at % a.inputs;
        std::fill(sum, sum + width, 0.0f);
        for (int64_t tap = 0; tap < a.taps && reads(a, row, input); tap++) {
            const int64_t t = input + a.left - tap * a.dilation;
            if (t < 0 || t >= a.outputs) continue;
            const float* w = taps_of(a, rows, row * a.outputs + t, tap, own);
            const T* g = static_cast<const T*>(a.d_y) + (row * a.outputs + t) * width;
#pragma omp simd
            for (int64_t c = 0; c < width; c++) sum[c] += w[c] * to_float(g[c]);
        }
        T* dx = static_cast<T*>(a.d_x) + at * width;
#pragma omp simd
        for (int64_t c = 0; c < width; c++) dx[c] = from_float<T>(sum[c]);
    }
}

template <typename T>
void taps_gradient_of(const pf_convolution_args& a, float* partial, int64_t begin, int64_t end) {
    const int64_t width = a.width;
    const std::unique_ptr<float[]> scratch(partial == nullptr ? new float[width + a.heads] : nullptr);
    for (int64_t output = begin; output < end; output++) {
        const int64_t row = output / a.outputs, t = output % a.outputs;
        const T* g = static_cast<const T*>(a.d_y) + output * width;
        for (int64_t tap = 0; tap < a.taps; tap++) {
            const int64_t input = t - a.left + tap * a.dilation;
            const bool read = reads(a, row, input);
            const T* x = read ? static_cast<const T*>(a.x) + (row * a.inputs + input) * width : nullptr;
            if (partial != nullptr) {
                float* sum = partial + tap * width;
                if (!read) continue;
#pragma omp simd
                for (int64_t c = 0; c < width; c++) sum[c] += to_float(g[c]) * to_float(x[c]);
                continue;
            }
            float *product = scratch.get(), *sums = product + width, *target = a.d_weights + output * a.heads * a.taps + tap;
            if (read) {
#pragma omp simd
                for (int64_t c = 0; c < width; c++) product[c] = to_float(g[c]) * to_float(x[c]);
                gather(a, product, sums);
            } else {
                std::fill(sums, sums + a.heads, 0.0f);
            }
            for (int64_t h = 0; h < a.heads; h++) target[h * a.taps] = sums[h];
        }
    }
}

void convolution_forward(const pf_convolution_args& a, const float* rows, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.type), [&](auto element) { forward_of<decltype(element)>(a, rows, begin, end); });
}

void convolution_inputs(const pf_convolution_args& a, const float* rows, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.type), [&](auto element) { inputs_of<decltype(element)>(a, rows, begin, end); });
}

void convolution_taps(const pf_convolution_args& a, float* partial, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.type), [&](auto element) { taps_gradient_of<decltype(element)>(a, partial, begin, end); });
}

}  // namespace

void add_convolution(Kernels& kernels) {
    kernels.convolution_spread = spread;
    kernels.convolution_gather = gather;
    kernels.convolution_forward = convolution_forward;
    kernels.convolution_inputs = convolution_inputs;
    kernels.convolution_taps = convolution_taps;
}

}  // namespace permafrost::kernels::PERMAFROST_ISA
