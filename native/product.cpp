// bfloat16 products with frozen weights: y = activation(x W + b) and, for gradients, dx = dy W^T, from one packed copy of W. For processors with
// AVX512-BF16. One vdpbf16ps adds two products into each of 16 sums; a tile of 8 rows by 48 columns keeps 24 sums in registers, which hides the
// instruction's latency and needs 11 loads for 24 of them.
//
// Packed: panels of 48 columns (the last one 16, 32 or 48), in each for every two inputs (k, k + 1) the columns' pairs: [k / 2][column][2].
// The transposed product needs panels of 48 inputs with pairs along the outputs: built on the fly, a panel at a time, by transposing 16 x 16 blocks
// in registers. That costs a hundredth of the product from some 40 rows on and halves the memory.
#include <immintrin.h>

#include <algorithm>
#include <memory>
#include <type_traits>

#include "tiles.h"
#include "vector_math.h"

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

#ifdef __AMX_BF16__

// Intel's tile registers: 16 rows of 64 bytes. Six of them hold 32 rows by 48 columns of sums, one the rows of x, one the columns of the panel, whose pairs already lie
// as tdpbf16ps takes them. The last rows and the last numbers of a row go through memory that zeros fill up.
constexpr int kRows = 32, kStep = 32;  // inputs at a time

constexpr TileConfiguration kConfiguration;

class Tiles {
public:
    // Rows that do not fill their tiles, with zeros behind them; they are the same ones for every panel.
    const bf16* filled(const bf16* x, int count, int64_t inner) {
        if (count == kRows || count == 16) return x;
        if (x == filled_from_) return filled_.get();
        const int64_t size = (count < 16 ? 16 : kRows) * inner;
        filled_.reset(new bf16[size]);
        __builtin_memcpy(filled_.get(), x, count * inner * sizeof(bf16));
        std::fill(filled_.get() + count * inner, filled_.get() + size, bf16(0));
        filled_from_ = x;
        return filled_.get();
    }

private:
    TileUse use_{kConfiguration};
    std::unique_ptr<bf16[]> filled_;
    const bf16* filled_from_ = nullptr;
};

template <int C, bool Second>
PERMAFROST_INLINE void step(const bf16* x, int64_t x_bytes, const bf16* panel, int64_t panel_bytes) {
    _tile_loadd(6, x, x_bytes);
    _tile_loadd(7, panel, panel_bytes);
    _tile_dpbf16ps(0, 6, 7);
    if constexpr (C > 1) {
        _tile_loadd(7, panel + 32, panel_bytes);
        _tile_dpbf16ps(1, 6, 7);
    }
    if constexpr (C > 2) {
        _tile_loadd(7, panel + 64, panel_bytes);
        _tile_dpbf16ps(2, 6, 7);
    }
    if constexpr (Second) {
        _tile_loadd(6, reinterpret_cast<const char*>(x) + 16 * x_bytes, x_bytes);
        if constexpr (C > 2) {
            _tile_dpbf16ps(5, 6, 7);  // still there
            _tile_loadd(7, panel + 32, panel_bytes);
        }
        if constexpr (C > 1) {
            _tile_dpbf16ps(4, 6, 7);
            _tile_loadd(7, panel, panel_bytes);
        }
        _tile_dpbf16ps(3, 6, 7);
    }
}

template <int C, bool Second>
void tile(const bf16* x, int64_t x_stride, const bf16* x_tail, const bf16* panel, const bf16* panel_tail, int64_t inner, float* sums) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_zero(4);
    _tile_zero(5);
    const int64_t whole = inner / kStep * kStep;
    for (int64_t k = 0; k < whole; k += kStep) step<C, Second>(x + k, x_stride * 2, panel + k * C * 16, C * 64);
    if (whole < inner) step<C, Second>(x_tail, kStep * 2, panel_tail, C * 64);
    constexpr int64_t kBytes = kPanel * sizeof(float);
    _tile_stored(0, sums, kBytes);
    if constexpr (C > 1) _tile_stored(1, sums + 16, kBytes);
    if constexpr (C > 2) _tile_stored(2, sums + 32, kBytes);
    if constexpr (!Second) return;
    _tile_stored(3, sums + 16 * kPanel, kBytes);
    if constexpr (C > 1) _tile_stored(4, sums + 16 * kPanel + 16, kBytes);
    if constexpr (C > 2) _tile_stored(5, sums + 16 * kPanel + 32, kBytes);
}

template <int C>
void rows_of(int count, const bf16* x, int64_t x_stride, const bf16* panel, int64_t pairs, float* sums) {
    const int64_t inner = 2 * pairs, whole = inner / kStep * kStep, rest = inner - whole;
    alignas(64) bf16 x_tail[kRows * kStep], panel_tail[kStep * C * 16];
    if (rest > 0) {
        std::fill(x_tail, x_tail + kRows * kStep, bf16(0));
        std::fill(panel_tail, panel_tail + kStep * C * 16, bf16(0));
        for (int r = 0; r < count; r++) __builtin_memcpy(x_tail + r * kStep, x + r * x_stride + whole, rest * sizeof(bf16));
        __builtin_memcpy(panel_tail, panel + whole * C * 16, rest * C * 16 * sizeof(bf16));
    }
    if (count <= 16) tile<C, false>(x, x_stride, x_tail, panel, panel_tail, inner, sums);
    else tile<C, true>(x, x_stride, x_tail, panel, panel_tail, inner, sums);
}

#else

constexpr int kRows = 8;

struct Tiles {
    const bf16* filled(const bf16* x, int, int64_t) { return x; }
};

PERMAFROST_INLINE __m512bh as_bf16(__m512i x) { return reinterpret_cast<__m512bh>(x); }

// R rows by C * 16 columns into `sums` (rows of 48).
template <int R, int C>
PERMAFROST_INLINE void tile(const bf16* x, int64_t x_stride, const bf16* panel, int64_t pairs, float* sums) {
    __m512 sum[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int c = 0; c < C; c++) sum[r][c] = _mm512_setzero_ps();
    for (int64_t k = 0; k < pairs; k++) {
        __m512bh weights[C];
#pragma GCC unroll 3
        for (int c = 0; c < C; c++) weights[c] = as_bf16(_mm512_loadu_si512(panel + k * C * 32 + c * 32));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            int32_t pair;
            __builtin_memcpy(&pair, x + r * x_stride + 2 * k, sizeof pair);
            const __m512bh value = as_bf16(_mm512_set1_epi32(pair));
#pragma GCC unroll 3
            for (int c = 0; c < C; c++) sum[r][c] = _mm512_dpbf16_ps(sum[r][c], value, weights[c]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int c = 0; c < C; c++) _mm512_storeu_ps(sums + r * kPanel + c * 16, sum[r][c]);
}

template <int C>
void rows_of(int count, const bf16* x, int64_t x_stride, const bf16* panel, int64_t pairs, float* sums) {
    switch (count) {
        case 8: return tile<8, C>(x, x_stride, panel, pairs, sums);
        case 7: return tile<7, C>(x, x_stride, panel, pairs, sums);
        case 6: return tile<6, C>(x, x_stride, panel, pairs, sums);
        case 5: return tile<5, C>(x, x_stride, panel, pairs, sums);
        case 4: return tile<4, C>(x, x_stride, panel, pairs, sums);
        case 3: return tile<3, C>(x, x_stride, panel, pairs, sums);
        case 2: return tile<2, C>(x, x_stride, panel, pairs, sums);
        default: return tile<1, C>(x, x_stride, panel, pairs, sums);
    }
}

#endif

void tile_of(int rows, int blocks, const bf16* x, int64_t x_stride, const bf16* panel, int64_t pairs, float* sums) {
    if (blocks == 3) rows_of<3>(rows, x, x_stride, panel, pairs, sums);
    else if (blocks == 2) rows_of<2>(rows, x, x_stride, panel, pairs, sums);
    else rows_of<1>(rows, x, x_stride, panel, pairs, sums);
}

// Activations of 16 numbers at once, as exact as a bfloat16 result shows: the scalar ones of vector_math.h keep a float32's bits, and cost more than the product itself.
struct Values {
    __m512 y, slope;
};

PERMAFROST_INLINE __m512 all(float value) { return _mm512_set1_ps(value); }

// 2^x within 2e-7, of x between -126 and 126; a NaN stays one, since the instructions give their second operand then.
PERMAFROST_INLINE __m512 power_of_two(__m512 x) {
    const __m512 bounded = _mm512_max_ps(all(-126.0f), _mm512_min_ps(all(126.0f), x));
    const __m512 n = _mm512_roundscale_ps(bounded, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 r = _mm512_sub_ps(bounded, n);
    __m512 p = _mm512_fmadd_ps(all(0.00133908634f), r, all(0.00967603192f));
    p = _mm512_fmadd_ps(p, r, all(0.0555035711f));
    p = _mm512_fmadd_ps(p, r, all(0.240221075f));
    p = _mm512_fmadd_ps(p, r, all(0.693147188f));
    p = _mm512_fmadd_ps(p, r, all(1.00000008f));
    return _mm512_scalef_ps(p, n);
}

// 1 / x of a positive number.
PERMAFROST_INLINE __m512 reciprocal(__m512 x) {
    const __m512 near = _mm512_rcp14_ps(x);
    return _mm512_mul_ps(near, _mm512_fnmadd_ps(x, near, all(2.0f)));
}

constexpr float kLog2E = 1.44269504f;
template <Activation A>
constexpr bool kQuick = A == Activation::GeluTanh || A == Activation::GeluErf || A == Activation::Silu || A == Activation::QuickGelu || A == Activation::Sigmoid;

template <Activation A>
PERMAFROST_INLINE Values quick(__m512 x) {
    const __m512 one = all(1.0f);
    if constexpr (A == Activation::GeluErf) {
        // As the scalar one: Abramowitz and Stegun 7.1.26.
        const __m512 e = power_of_two(_mm512_mul_ps(_mm512_mul_ps(x, x), all(-0.5f * kLog2E)));
        const __m512 t = reciprocal(_mm512_fmadd_ps(_mm512_abs_ps(x), all(0.23164189f), one));
        __m512 p = _mm512_fmadd_ps(all(0.5307027145f), t, all(-0.7265760135f));
        p = _mm512_fmadd_ps(p, t, all(0.7107068705f));
        p = _mm512_fmadd_ps(p, t, all(-0.142248368f));
        p = _mm512_fmadd_ps(p, t, all(0.127414796f));
        const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), e);
        const __m512 phi = _mm512_mask_sub_ps(tail, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLT_UQ), one, tail);
        return {_mm512_mul_ps(x, phi), _mm512_fmadd_ps(_mm512_mul_ps(x, e), all(0.3989422804f), phi)};
    } else if constexpr (A == Activation::GeluTanh) {
        // 0.5 (1 + tanh(u)) is the logistic function of 2u.
        constexpr float k = 0.7978845608028654f, c = 0.044715f;
        const __m512 square = _mm512_mul_ps(x, x);
        const __m512 e = power_of_two(_mm512_mul_ps(x, _mm512_fmadd_ps(square, all(-2 * k * c * kLog2E), all(-2 * k * kLog2E))));
        const __m512 s = reciprocal(_mm512_add_ps(e, one)), y = _mm512_mul_ps(x, s);
        return {y, _mm512_fmadd_ps(_mm512_mul_ps(y, _mm512_sub_ps(one, s)), _mm512_fmadd_ps(square, all(6 * k * c), all(2 * k)), s)};
    } else {
        constexpr float k = A == Activation::QuickGelu ? 1.702f : 1.0f;
        const __m512 s = reciprocal(_mm512_add_ps(power_of_two(_mm512_mul_ps(x, all(-k * kLog2E))), one)), rest = _mm512_sub_ps(one, s);
        if constexpr (A == Activation::Sigmoid) return {s, _mm512_mul_ps(s, rest)};
        else return {_mm512_mul_ps(x, s), _mm512_mul_ps(s, _mm512_fmadd_ps(_mm512_mul_ps(x, all(k)), rest, one))};
    }
}

PERMAFROST_INLINE void store(__m512 from, __mmask16 mask, float* to) { _mm512_mask_storeu_ps(to, mask, from); }
PERMAFROST_INLINE void store(__m512 from, __mmask16 mask, bf16* to) { _mm256_mask_storeu_epi16(to, mask, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(from))); }

// Bias, activation and conversion, 16 columns at a time.
template <Activation A, typename Y>
void finish(const pf_product_args& a, const float* sums, int64_t row, int rows, int64_t column, int64_t columns) {
    constexpr bool coarse = sizeof(Y) == 2;
    const int64_t width = a.transposed ? a.inputs : a.outputs;
    for (int64_t first = 0; first < columns; first += 16) {
        const __mmask16 mask = columns - first >= 16 ? 0xffff : static_cast<__mmask16>((1u << (columns - first)) - 1);
        const __m512 bias = a.bias == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(mask, a.bias + column + first);
        for (int r = 0; r < rows; r++) {
            const int64_t at = (row + r) * width + column + first;
            const __m512 sum = _mm512_add_ps(_mm512_loadu_ps(sums + r * kPanel + first), bias);
            Values value{sum, all(1.0f)};
            if constexpr (coarse && kQuick<A>) {
                value = quick<A>(sum);
            } else if constexpr (A != Activation::None) {
                alignas(64) float x[16], y[16], slope[16];
                _mm512_store_ps(x, sum);
#pragma omp simd
                for (int i = 0; i < 16; i++) {
                    const Value one = activation<A, coarse>(x[i]);
                    y[i] = one.y;
                    slope[i] = one.slope;
                }
                value = {_mm512_load_ps(y), _mm512_load_ps(slope)};
            }
            store(value.y, mask, static_cast<Y*>(a.y) + at);
            if (a.slope != nullptr) store(value.slope, mask, a.slope + at);
        }
    }
}

void finish_of(const pf_product_args& a, const float* sums, int64_t row, int rows, int64_t column, int64_t columns) {
    with_activation(static_cast<Activation>(a.activation), [&](auto constant) {
        constexpr Activation A = decltype(constant)::value;
        if (a.y_type == PF_FLOAT32) finish<A, float>(a, sums, row, rows, column, columns);
        else finish<A, bf16>(a, sums, row, rows, column, columns);
    });
}

// Eight registers of [16 columns][2 inputs], one for every two inputs, become eight of [16 inputs][2 columns], one for every two columns.
PERMAFROST_INLINE void transpose_block(const bf16* from, int64_t from_stride, bf16* to, int64_t to_stride) {
    const __m512i swap = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15));
    __m512i a[8], b[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) a[i] = _mm512_loadu_si512(from + i * from_stride);
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]);
    }
    // Now 128-bit lane l of b[2i + h] is column pair 2l + h of input pairs 2i and 2i + 1: a 4 x 4 transposition of lanes for each h.
#pragma GCC unroll 2
    for (int h = 0; h < 2; h++) {
        const __m512i low0 = _mm512_shuffle_i64x2(b[h], b[h + 2], 0x44), high0 = _mm512_shuffle_i64x2(b[h], b[h + 2], 0xee);
        const __m512i low1 = _mm512_shuffle_i64x2(b[h + 4], b[h + 6], 0x44), high1 = _mm512_shuffle_i64x2(b[h + 4], b[h + 6], 0xee);
        a[h] = _mm512_shuffle_i64x2(low0, low1, 0x88);
        a[2 + h] = _mm512_shuffle_i64x2(low0, low1, 0xdd);
        a[4 + h] = _mm512_shuffle_i64x2(high0, high1, 0x88);
        a[6 + h] = _mm512_shuffle_i64x2(high0, high1, 0xdd);
    }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) _mm512_storeu_si512(to + i * to_stride, _mm512_shuffle_epi8(a[i], swap));
}

// The transposed weight's panel of inputs [first, first + 16 * blocks).
void transpose_panel(const pf_product_args& a, int64_t first, int blocks, bf16* panel) {
    const int64_t pairs = round_up(a.inputs, 16) / 2, columns = round_up(a.outputs, 16);
    for (int64_t column = 0; column < columns; column += 16) {
        const int64_t start = column / kPanel * kPanel;
        const int64_t width = std::min(kPanel, columns - start);
        const bf16* source = a.weight + start * pairs * 2 + (column - start) * 2;
        for (int block = 0; block < blocks; block++)
            transpose_block(source + (first / 2 + block * 8) * width * 2, width * 2, panel + column * blocks * 16 + block * 32, blocks * 32);
    }
}

// Rows at a time: few enough that their part of x stays in the second-level cache while the panels go by.
constexpr int64_t kRowBlock = 256;

void product(const pf_product_args& a, int64_t begin, int64_t end, int64_t first, int64_t last) {
    const int64_t inner = a.transposed ? a.outputs : a.inputs, width = a.transposed ? a.inputs : a.outputs;
    const int64_t padded = round_up(width, 16), pairs = round_up(inner, 16) / 2;
    alignas(64) float sums[kRows * kPanel];
    Tiles tiles;
    std::unique_ptr<bf16[]> transposed(a.transposed ? new bf16[kPanel * pairs * 2] : nullptr);
    const int64_t row_block = a.transposed ? last - first : kRowBlock;
    for (int64_t block = first; block < last; block += row_block) {
        const int64_t block_end = std::min(block + row_block, last);
        for (int64_t p = begin; p < end; p++) {
            const int64_t column = p * kPanel;
            const int blocks = static_cast<int>(std::min(kPanel, padded - column) / 16);
            const bf16* panel = a.weight + column * pairs * 2;
            if (a.transposed) {
                transpose_panel(a, column, blocks, transposed.get());
                panel = transposed.get();
            }
            for (int64_t row = block; row < block_end; row += kRows) {
                const int rows = static_cast<int>(std::min<int64_t>(kRows, block_end - row));
                // x has no padding: its rows have `inner` numbers, which is even (the caller pads odd ones).
                tile_of(rows, blocks, tiles.filled(a.x + row * inner, rows, inner), inner, panel, inner / 2, sums);
                finish_of(a, sums, row, rows, column, std::min<int64_t>(blocks * 16, width - column));
            }
        }
    }
}

PERMAFROST_INLINE __m512i sixteen(const float* from, __mmask16 mask) {
    return _mm512_cvtepu16_epi32(reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from))));
}
PERMAFROST_INLINE __m512i sixteen(const bf16* from, __mmask16 mask) { return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, from)); }

template <typename T>
void pack_of(const T* weight, int64_t input_stride, int64_t output_stride, int64_t inputs, int64_t outputs, bf16* packed, int64_t begin, int64_t end) {
    const int64_t rows = round_up(inputs, 16), columns = round_up(outputs, 16);
    for (int64_t p = begin; p < end; p++) {
        const int64_t start = p * kPanel, width = std::min(kPanel, columns - start);
        bf16* panel = packed + start * rows;
        for (int64_t k = 0; k < rows; k += 2) {
            bf16* pairs = panel + k * width;
            for (int64_t j = 0; j < width; j += 16) {
                const int64_t count = std::min<int64_t>(16, outputs - start - j);
                const __mmask16 mask = count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
                const __mmask16 low = k < inputs ? mask : 0, high = k + 1 < inputs ? mask : 0;
                if (output_stride == 1) {
                    // Masked-out numbers are never read, so that a row's end is not passed.
                    const T* from = weight + k * input_stride + start + j;
                    const __m512i even = sixteen(from, low), odd = sixteen(high != 0 ? from + input_stride : from, high);
                    _mm512_storeu_si512(pairs + 2 * j, _mm512_or_si512(even, _mm512_slli_epi32(odd, 16)));
                    continue;
                }
                for (int i = 0; i < 16; i++) {
                    const T* from = weight + k * input_stride + (start + j + i) * output_stride;
                    pairs[2 * (j + i)] = low >> i & 1 ? from_float<bf16>(to_float(from[0])) : 0;
                    pairs[2 * (j + i) + 1] = high >> i & 1 ? from_float<bf16>(to_float(from[input_stride])) : 0;
                }
            }
        }
    }
}

void pack(const pf_pack_args& a, int64_t begin, int64_t end) {
    if (a.type == PF_FLOAT32) pack_of(static_cast<const float*>(a.weight), a.input_stride, a.output_stride, a.inputs, a.outputs, a.packed, begin, end);
    else pack_of(static_cast<const bf16*>(a.weight), a.input_stride, a.output_stride, a.inputs, a.outputs, a.packed, begin, end);
}

void unpack(const pf_pack_args& a, int64_t begin, int64_t end) {
    const int64_t inputs = a.inputs, outputs = a.outputs, rows = round_up(inputs, 16), columns = round_up(outputs, 16);
    float* weight = static_cast<float*>(a.weight);
    for (int64_t p = begin; p < end; p++) {
        const int64_t start = p * kPanel, width = std::min(kPanel, columns - start);
        const bf16* panel = a.packed + start * rows;
        for (int64_t k = 0; k < inputs; k++)
            for (int64_t j = 0; j < width && start + j < outputs; j++) weight[k * outputs + start + j] = to_float(panel[(k / 2 * width + j) * 2 + k % 2]);
    }
}

}  // namespace

void add_product(Kernels& kernels) {
    kernels.product = product;
    kernels.pack = pack;
    kernels.unpack = unpack;
}

}  // namespace permafrost::kernels::PERMAFROST_ISA
