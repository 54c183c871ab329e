// What happens between the products: norms with their residual, activations, dropout, conversions, Adam. Written as plain loops that the compiler
// vectorises; compiled once for each instruction set.
#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>

#include "vector_math.h"

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

constexpr int kLanes = 32;  // independent sums, so that a row's sum does not depend on the instruction set's width and is accurate

template <typename F>
PERMAFROST_INLINE float sum_of(int64_t width, F&& term) {
    float lanes[kLanes] = {};
    int64_t i = 0;
    for (; i + kLanes <= width; i += kLanes) {
#pragma omp simd
        for (int lane = 0; lane < kLanes; lane++) lanes[lane] += term(i + lane);
    }
    for (int lane = 0; i < width; i++, lane++) lanes[lane] += term(i);
    for (int half = kLanes / 2; half > 0; half /= 2)
        for (int lane = 0; lane < half; lane++) lanes[lane] += lanes[lane + half];
    return lanes[0];
}

template <typename F>
void with_type(Type type, F&& f) {
    if (type == Type::Float) f(float());
    else f(bf16());
}

template <typename Y, typename N>
void norm_forward_of(const pf_norm_forward_args& a, int64_t begin, int64_t end) {
    const int64_t width = a.width;
    for (int64_t row = begin; row < end; row++) {
        const float* x = a.x + row * width;
        if (a.y != nullptr) {
            const Y* y = static_cast<const Y*>(a.y) + row * width;
            float* sum = a.sum + row * width;
            if (a.dropout.probability > 0) {
                const Keep keep(a.dropout);
                const uint32_t key = Keep::row_key(a.dropout, row / a.tokens), first = static_cast<uint32_t>(row % a.tokens * width);
#pragma omp simd
                for (int64_t i = 0; i < width; i++) sum[i] = x[i] + to_float(y[i]) * keep.factor(key, first + static_cast<uint32_t>(i));
            } else {
#pragma omp simd
                for (int64_t i = 0; i < width; i++) sum[i] = x[i] + to_float(y[i]);
            }
            x = sum;
        }
        const float mean = a.bias == nullptr ? 0.0f : sum_of(width, [x](int64_t i) { return x[i]; }) / static_cast<float>(width);
        const float variance = sum_of(width, [x, mean](int64_t i) { return (x[i] - mean) * (x[i] - mean); }) / static_cast<float>(width);
        const float rstd = 1.0f / std::sqrt(variance + static_cast<float>(a.epsilon));
        a.mean[row] = mean;
        a.rstd[row] = rstd;
        N* normed = static_cast<N*>(a.normed) + row * width;
        if (a.bias == nullptr) {
#pragma omp simd
            for (int64_t i = 0; i < width; i++) normed[i] = from_float<N>(x[i] * rstd * a.weight[i]);
            continue;
        }
#pragma omp simd
        for (int64_t i = 0; i < width; i++) normed[i] = from_float<N>((x[i] - mean) * rstd * a.weight[i] + a.bias[i]);
    }
}

template <typename N, typename Y>
void norm_backward_of(const pf_norm_backward_args& a, float* partial, int64_t begin, int64_t end) {
    const int64_t width = a.width;
    float *d_weight = partial, *d_bias = partial == nullptr ? nullptr : partial + width;
    const std::unique_ptr<N[]> zeros(a.d_normed == nullptr ? new N[width]() : nullptr);
    for (int64_t row = begin; row < end; row++) {
        const float* x = a.sum + row * width;
        const N* g = a.d_normed == nullptr ? zeros.get() : static_cast<const N*>(a.d_normed) + row * width;
        const float mean = a.mean[row], rstd = a.rstd[row];
        const float* w = a.weight;
        const float c1 = a.centred == 0 ? 0.0f : sum_of(width, [=](int64_t i) { return to_float(g[i]) * w[i]; }) / static_cast<float>(width);
        const float c2 = sum_of(width, [=](int64_t i) { return to_float(g[i]) * w[i] * ((x[i] - mean) * rstd); }) / static_cast<float>(width);
        if (partial != nullptr) {
#pragma omp simd
            for (int64_t i = 0; i < width; i++) {
                d_weight[i] += to_float(g[i]) * ((x[i] - mean) * rstd);
                d_bias[i] += to_float(g[i]);
            }
        }
        if (a.dx == nullptr) continue;
        float* dx = a.dx + row * width;
        if (a.d_sum != nullptr) {
            const float* d_sum = a.d_sum + row * width;
#pragma omp simd
            for (int64_t i = 0; i < width; i++) dx[i] = d_sum[i] + rstd * (to_float(g[i]) * w[i] - c1 - (x[i] - mean) * rstd * c2);
        } else {
#pragma omp simd
            for (int64_t i = 0; i < width; i++) dx[i] = rstd * (to_float(g[i]) * w[i] - c1 - (x[i] - mean) * rstd * c2);
        }
        if (a.dy == nullptr) continue;
        Y* dy = static_cast<Y*>(a.dy) + row * width;
        if (a.dropout.probability > 0) {
            const Keep keep(a.dropout);
            const uint32_t key = Keep::row_key(a.dropout, row / a.tokens), first = static_cast<uint32_t>(row % a.tokens * width);
#pragma omp simd
            for (int64_t i = 0; i < width; i++) dy[i] = from_float<Y>(dx[i] * keep.factor(key, first + static_cast<uint32_t>(i)));
        } else {
#pragma omp simd
            for (int64_t i = 0; i < width; i++) dy[i] = from_float<Y>(dx[i]);
        }
    }
}

void norm_forward(const pf_norm_forward_args& a, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.y_type), [&](auto y) { with_type(static_cast<Type>(a.normed_type), [&](auto n) { norm_forward_of<decltype(y), decltype(n)>(a, begin, end); }); });
}

void norm_backward(const pf_norm_backward_args& a, float* partial, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.d_normed_type), [&](auto n) {
        with_type(static_cast<Type>(a.dy_type), [&](auto y) { norm_backward_of<decltype(n), decltype(y)>(a, partial, begin, end); });
    });
}

void multiply(const void* a, const void* b, void* result, Type type, int64_t begin, int64_t end) {
    with_type(type, [&](auto element) {
        using T = decltype(element);
        const T *left = static_cast<const T*>(a), *right = static_cast<const T*>(b);
        T* product = static_cast<T*>(result);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) product[i] = from_float<T>(to_float(left[i]) * to_float(right[i]));
    });
}

void add(const void* a, const void* b, void* result, Type type, int64_t begin, int64_t end) {
    with_type(type, [&](auto element) {
        using T = decltype(element);
        const T *left = static_cast<const T*>(a), *right = static_cast<const T*>(b);
        T* sum = static_cast<T*>(result);
#pragma omp simd
        for (int64_t i = begin; i < end; i++) sum[i] = from_float<T>(to_float(left[i]) + to_float(right[i]));
    });
}

void dropout(const pf_dropout_args& a, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.type), [&](auto element) {
        using T = decltype(element);
        const T* from = static_cast<const T*>(a.x);
        T* to = static_cast<T*>(a.y);
        const Keep keep(a.dropout);
        for (int64_t start = begin; start < end;) {
            const int64_t row = start / a.width, stop = std::min(end, (row + 1) * a.width), first = row * a.width;
            const uint32_t key = Keep::row_key(a.dropout, row);
#pragma omp simd
            for (int64_t i = start; i < stop; i++) to[i] = from_float<T>(to_float(from[i]) * keep.factor(key, static_cast<uint32_t>(i - first)));
            start = stop;
        }
    });
}

void convert(const void* x, Type from, void* y, Type to, int64_t begin, int64_t end) {
    with_type(from, [&](auto source) {
        with_type(to, [&](auto target) {
            using S = decltype(source);
            using T = decltype(target);
            const S* in = static_cast<const S*>(x);
            T* out = static_cast<T*>(y);
#pragma omp simd
            for (int64_t i = begin; i < end; i++) out[i] = from_float<T>(to_float(in[i]));
        });
    });
}

void column_sums(const pf_column_sums_args& a, int64_t begin, int64_t end) {
    with_type(static_cast<Type>(a.type), [&](auto element) {
        using T = decltype(element);
        std::fill(a.sums + begin, a.sums + end, 0.0f);
        for (int64_t row = 0; row < a.rows; row++) {
            const T* from = static_cast<const T*>(a.x) + row * a.width;
#pragma omp simd
            for (int64_t i = begin; i < end; i++) a.sums[i] += to_float(from[i]);
        }
    });
}

// For columns [begin, end), which are rows of `to`.
void transpose(const pf_transpose_args& a, int64_t begin, int64_t end) {
    constexpr int64_t kSide = 32;  // a block's lines stay in the first-level cache
    for (int64_t row = 0; row < a.rows; row += kSide)
        for (int64_t column = begin; column < end; column += kSide)
            for (int64_t c = column; c < std::min(column + kSide, end); c++)
                for (int64_t r = row; r < std::min(row + kSide, a.rows); r++) a.to[c * a.stride + r] = a.from[r * a.width + c];
    for (int64_t c = begin; c < end; c++) std::fill(a.to + c * a.stride + a.rows, a.to + (c + 1) * a.stride, bf16(0));
}

double sum_squares(const float* x, int64_t begin, int64_t end) {
    const float* from = x + begin;
    return sum_of(end - begin, [from](int64_t i) { return from[i] * from[i]; });
}

void scale(float* x, float factor, int64_t begin, int64_t end) {
#pragma omp simd
    for (int64_t i = begin; i < end; i++) x[i] *= factor;
}

// settings: learning rate / (1 - beta1^t), sqrt(1 - beta2^t), beta1, beta2, epsilon, L2 decay, decoupled decay (1 - rate * decay), gradient scale.
// Operation for operation what Adam.cs calls on libtorch, so that both give the same bits within rounding.
void adam(float* p, const float* g, float* m, float* v, const double* settings, int64_t begin, int64_t end) {
    const float step = static_cast<float>(settings[0]), correction = static_cast<float>(settings[1]);
    const float beta1 = static_cast<float>(settings[2]), beta2 = static_cast<float>(settings[3]);
    const float epsilon = static_cast<float>(settings[4]), decay = static_cast<float>(settings[5]);
    const float shrink = static_cast<float>(settings[6]), scale = static_cast<float>(settings[7]);
    const float rest1 = static_cast<float>(1 - settings[2]), rest2 = static_cast<float>(1 - settings[3]);
#pragma omp simd
    for (int64_t i = begin; i < end; i++) {
        const float value = p[i] * shrink, gradient = g[i] * scale + decay * value;
        m[i] = m[i] * beta1 + rest1 * gradient;
        v[i] = v[i] * beta2 + rest2 * gradient * gradient;
        p[i] = value - step * (m[i] / (std::sqrt(v[i]) / correction + epsilon));
    }
}

}  // namespace

void add_rows(Kernels& kernels) {
    kernels.norm_forward = norm_forward;
    kernels.norm_backward = norm_backward;
    kernels.multiply = multiply;
    kernels.add = add;
    kernels.dropout = dropout;
    kernels.convert = convert;
    kernels.column_sums = column_sums;
    kernels.transpose = transpose;
    kernels.sum_squares = sum_squares;
    kernels.scale = scale;
    kernels.adam = adam;
}

}  // namespace permafrost::kernels::PERMAFROST_ISA
