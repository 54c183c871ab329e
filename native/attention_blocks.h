// What attention.cpp is made of: products of small blocks, by tile registers where the processor has them, and one head's numbers in the orders that these
// products take.
#ifndef PERMAFROST_ATTENTION_BLOCKS_H
#define PERMAFROST_ATTENTION_BLOCKS_H

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "tiles.h"
#include "vector_math.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

constexpr int64_t kBlock = 64;

// ---- small products: c (rows x columns) = or += a (rows x inner) b, with b packed as [inner / G][columns][G] ----

#if defined(__AVX512F__)
constexpr int kWidth = 16, kTileRows = 8, kTileColumns = 3;
#elif defined(__AVX2__)
constexpr int kWidth = 8, kTileRows = 4, kTileColumns = 2;
#else
constexpr int kWidth = 4, kTileRows = 4, kTileColumns = 2;
#endif
typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));
typedef int32_t Integers __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));
typedef uint32_t Bits __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));

template <typename V = Vector, typename T>
PERMAFROST_INLINE V read(const T* from) {
    V vector;
    std::memcpy(&vector, from, sizeof vector);
    return vector;
}
PERMAFROST_INLINE void write(Vector vector, float* to) { std::memcpy(to, &vector, sizeof vector); }
PERMAFROST_INLINE Vector all(float x) { return Vector{} + x; }

// Numbers of `inner` that lie side by side in packed memory.
template <typename E>
constexpr int kGroup = sizeof(E) == 2 ? 2 : 1;

template <int R, int C>
PERMAFROST_INLINE void tile(const float* a, int64_t a_stride, const float* b, int64_t b_columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    Vector sum[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) sum[r][j] = add ? read(c + r * c_stride + j * kWidth) : Vector{};
    for (int64_t k = 0; k < inner; k++) {
        Vector row[C];
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) row[j] = read(b + k * b_columns + j * kWidth);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float value = a[r * a_stride + k];
#pragma GCC unroll 3
            for (int j = 0; j < C; j++) sum[r][j] += value * row[j];
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) write(sum[r][j], c + r * c_stride + j * kWidth);
}

#if defined(__AVX512BF16__) && !defined(__AMX_BF16__)
template <int R, int C>
PERMAFROST_INLINE void tile(const bf16* a, int64_t a_stride, const bf16* b, int64_t b_columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    __m512 sum[R][C];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) sum[r][j] = add ? _mm512_loadu_ps(c + r * c_stride + j * 16) : _mm512_setzero_ps();
    for (int64_t k = 0; k < inner; k += 2) {
        __m512bh row[C];
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) row[j] = reinterpret_cast<__m512bh>(_mm512_loadu_si512(b + k * b_columns + j * 32));
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            int32_t pair;
            std::memcpy(&pair, a + r * a_stride + k, sizeof pair);
            const __m512bh value = reinterpret_cast<__m512bh>(_mm512_set1_epi32(pair));
#pragma GCC unroll 3
            for (int j = 0; j < C; j++) sum[r][j] = _mm512_dpbf16_ps(sum[r][j], value, row[j]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
#pragma GCC unroll 3
        for (int j = 0; j < C; j++) _mm512_storeu_ps(c + r * c_stride + j * 16, sum[r][j]);
}
#endif

template <int R, typename E>
void row_tiles(const E* a, int64_t a_stride, const E* b, int64_t b_columns, int64_t columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    int64_t j = 0;
    // Four vectors of columns (64 keys, 64 numbers of a head) go better as two and two than as three and one.
    for (; j + kTileColumns * kWidth <= columns && (kTileColumns < 3 || columns - j != 4 * kWidth); j += kTileColumns * kWidth)
        tile<R, kTileColumns>(a, a_stride, b + j * kGroup<E>, b_columns, inner, c + j, c_stride, add);
    if constexpr (kTileColumns > 2)
        for (; j + 2 * kWidth <= columns; j += 2 * kWidth) tile<R, 2>(a, a_stride, b + j * kGroup<E>, b_columns, inner, c + j, c_stride, add);
    for (; j < columns; j += kWidth) tile<R, 1>(a, a_stride, b + j * kGroup<E>, b_columns, inner, c + j, c_stride, add);
}

// rows, inner: multiples of 16; columns: of kWidth.
template <typename E>
void product(const E* a, int64_t a_stride, const E* b, int64_t b_columns, int64_t rows, int64_t columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    int64_t r = 0;
    for (; r < rows; r += kTileRows) row_tiles<kTileRows>(a + r * a_stride, a_stride, b, b_columns, columns, inner, c + r * c_stride, c_stride, add);
}

#ifdef __AMX_BF16__
// Tiles 0 to 3 hold 32 by 32 sums, 4 and 5 what is multiplied: 16 rows of a by 32 numbers, and the pairs of b that meet them. 6 and 7 are 4 and 5 for
// the 16 numbers that are left where `inner` is no multiple of 32, so that nothing is read behind them.
constexpr TileConfiguration kConfiguration = {1, 0, {}, {64, 64, 64, 64, 64, 64, 32, 64}, {16, 16, 16, 16, 16, 16, 16, 8}};

// A macro, since the tiles' numbers are part of the instructions.
#define PERMAFROST_STEP(name, A, B) \
    template <int R, int C> \
    PERMAFROST_INLINE void name(const bf16* a, int64_t a_stride, const bf16* b, int64_t b_columns) { \
        _tile_loadd(A, a, a_stride * 2); \
        _tile_loadd(B, b, b_columns * 4); \
        _tile_dpbf16ps(0, A, B); \
        if constexpr (C > 1) { \
            _tile_loadd(B, b + 32, b_columns * 4); \
            _tile_dpbf16ps(1, A, B); \
        } \
        if constexpr (R > 1) { \
            _tile_loadd(A, a + 16 * a_stride, a_stride * 2); \
            if constexpr (C > 1) { \
                _tile_dpbf16ps(3, A, B); \
                _tile_loadd(B, b, b_columns * 4); \
            } \
            _tile_dpbf16ps(2, A, B); \
        } \
    }
PERMAFROST_STEP(whole_step, 4, 5)
PERMAFROST_STEP(half_step, 6, 7)
#undef PERMAFROST_STEP

template <int R, int C>
PERMAFROST_INLINE void sums(const bf16* a, int64_t a_stride, const bf16* b, int64_t b_columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    if (add) {
        _tile_loadd(0, c, c_stride * 4);
        if constexpr (C > 1) _tile_loadd(1, c + 16, c_stride * 4);
        if constexpr (R > 1) _tile_loadd(2, c + 16 * c_stride, c_stride * 4);
        if constexpr (R > 1 && C > 1) _tile_loadd(3, c + 16 * c_stride + 16, c_stride * 4);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    int64_t k = 0;
    for (; k + 32 <= inner; k += 32) whole_step<R, C>(a + k, a_stride, b + k * b_columns, b_columns);
    if (k < inner) half_step<R, C>(a + k, a_stride, b + k * b_columns, b_columns);
    _tile_stored(0, c, c_stride * 4);
    if constexpr (C > 1) _tile_stored(1, c + 16, c_stride * 4);
    if constexpr (R > 1) _tile_stored(2, c + 16 * c_stride, c_stride * 4);
    if constexpr (R > 1 && C > 1) _tile_stored(3, c + 16 * c_stride + 16, c_stride * 4);
}

template <int R>
PERMAFROST_INLINE void row_sums(const bf16* a, int64_t a_stride, const bf16* b, int64_t b_columns, int64_t columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    int64_t j = 0;
    for (; j + 32 <= columns; j += 32) sums<R, 2>(a, a_stride, b + j * 2, b_columns, inner, c + j, c_stride, add);
    if (j < columns) sums<R, 1>(a, a_stride, b + j * 2, b_columns, inner, c + j, c_stride, add);
}

void product(const bf16* a, int64_t a_stride, const bf16* b, int64_t b_columns, int64_t rows, int64_t columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    // GCC's intrinsics do not say that they read memory.
    asm volatile("" ::: "memory");
    int64_t r = 0;
    for (; r + 32 <= rows; r += 32) row_sums<2>(a + r * a_stride, a_stride, b, b_columns, columns, inner, c + r * c_stride, c_stride, add);
    if (r < rows) row_sums<1>(a + r * a_stride, a_stride, b, b_columns, columns, inner, c + r * c_stride, c_stride, add);
}
#endif

// What a head's products need of the thread.
struct Tiles {
#ifdef __AMX_BF16__
    TileUse use{kConfiguration};
#endif
};

// ---- one head's queries, keys or values in the orders that the products take ----

template <typename E, typename In>
PERMAFROST_INLINE E load(In x) {
    if constexpr (std::is_same_v<E, In>) return x;
    else return from_float<E>(to_float(x));
}

// [rows][size], rows beyond `count` and numbers beyond `size` are zero.
template <typename E, typename In>
void copy_rows(const In* from, int64_t stride, int64_t count, int64_t size, E* to, int64_t padded_count, int64_t padded_size) {
    for (int64_t r = 0; r < count; r++) {
        const In* row = from + r * stride;
        E* copy = to + r * padded_size;
#pragma omp simd
        for (int64_t d = 0; d < size; d++) copy[d] = load<E>(row[d]);
        std::fill(copy + size, copy + padded_size, E(0));
    }
    std::fill(to + count * padded_size, to + padded_count * padded_size, E(0));
}

// A group of packed numbers: four bytes of either type.
typedef uint32_t Group __attribute__((may_alias));

// to[c][r] = from[r][c]
void transpose(const Group* from, int64_t from_stride, int64_t rows, int64_t columns, Group* to, int64_t to_stride) {
#ifdef __AVX512F__
    for (int64_t r = 0; r < rows; r += 16)
        for (int64_t c = 0; c < columns; c += 16) {
            const int64_t height = std::min<int64_t>(16, rows - r), width = std::min<int64_t>(16, columns - c);
            const __mmask16 across = static_cast<__mmask16>((1u << width) - 1), down = static_cast<__mmask16>((1u << height) - 1);
            __m512i x[16], y[16];
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) x[i] = i < height ? _mm512_maskz_loadu_epi32(across, from + (r + i) * from_stride + c) : _mm512_setzero_si512();
#pragma GCC unroll 8
            for (int i = 0; i < 16; i += 2) {
                y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
                y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
            }
#pragma GCC unroll 4
            for (int i = 0; i < 16; i += 4) {
                x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
                x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
                x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
                x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
            }
            // Now 128-bit lane l of x[4i + j] is column 4l + j of rows 4i to 4i + 3.
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++) {
                const __m512i low0 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x44), high0 = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xee);
                const __m512i low1 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x44), high1 = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xee);
                y[j] = _mm512_shuffle_i32x4(low0, low1, 0x88);
                y[4 + j] = _mm512_shuffle_i32x4(low0, low1, 0xdd);
                y[8 + j] = _mm512_shuffle_i32x4(high0, high1, 0x88);
                y[12 + j] = _mm512_shuffle_i32x4(high0, high1, 0xdd);
            }
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                if (i < width) _mm512_mask_storeu_epi32(to + (c + i) * to_stride + r, down, y[i]);
        }
#else
    // A few rows at a time: what is read and what is written both stay in the first-level cache.
    for (int64_t r = 0; r < rows; r += 8)
        for (int64_t c = 0; c < columns; c++)
            for (int64_t i = r; i < r + 8; i++) to[c * to_stride + i] = from[i * from_stride + c];
#endif
}

// [rows][size] to [rows / G][size][G]: for products over rows.
template <typename E>
void pack_rows(const E* rows, int64_t count, int64_t size, E* to) {
    if constexpr (kGroup<E> == 1) {
        std::memcpy(to, rows, count * size * sizeof(E));
    } else {
        for (int64_t r = 0; r < count; r += 2) {
            const E *even = rows + r * size, *odd = even + size;
            E* pair = to + r * size;
            for (int64_t d = 0; d < size; d++) {
                pair[2 * d] = even[d];
                pair[2 * d + 1] = odd[d];
            }
        }
    }
}

// [rows][size] to a [size / G][rows][G] for every kBlock rows: for products over `size`. Blocks lie together, since tiles read 16 rows of them at once: at a
// distance of a power of two these would all want the same few places of the first-level cache.
template <typename E>
void pack_transposed(const E* rows, int64_t count, int64_t size, E* to) {
    for (int64_t r = 0; r < count; r += kBlock) {
        const int64_t height = std::min(kBlock, count - r);
        transpose(reinterpret_cast<const Group*>(rows + r * size), size / kGroup<E>, height, size / kGroup<E>, reinterpret_cast<Group*>(to + r * size), height);
    }
}

// [rows][size] to a [size][rows] for every kBlock rows, by way of `packed`, which becomes what pack_rows makes.
template <typename E>
void transpose_blocks(const E* rows, int64_t count, int64_t size, E* packed, E* to) {
    pack_rows(rows, count, size, packed);
    for (int64_t r = 0; r < count; r += kBlock) {
        const int64_t groups = std::min(kBlock, count - r) / kGroup<E>;
        transpose(reinterpret_cast<const Group*>(packed + r * size), size, groups, size, reinterpret_cast<Group*>(to + r * size), groups);
    }
}

// ---- blocks of kBlock columns ----

// Rows s and s + 1, from column t on, into a block [rows / G][kBlock][G].
PERMAFROST_INLINE void write_packed(Vector even, Vector odd, float* block, int64_t s, int64_t t) {
    write(even, block + s * kBlock + t);
    write(odd, block + (s + 1) * kBlock + t);
}

// The same into a block [rows][kBlock].
PERMAFROST_INLINE void write_rows(Vector even, Vector odd, float* block, int64_t s, int64_t t) { write_packed(even, odd, block, s, t); }

#ifdef __AVX512BF16__
PERMAFROST_INLINE __m512i both(Vector even, Vector odd) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(reinterpret_cast<__m512>(odd), reinterpret_cast<__m512>(even))); }

PERMAFROST_INLINE void write_packed(Vector even, Vector odd, bf16* block, int64_t s, int64_t t) {
    const __m512i first = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    // (i, i + 16) for each i.
    const __m512i order = _mm512_or_si512(first, _mm512_slli_epi32(_mm512_add_epi32(first, _mm512_set1_epi32(16)), 16));
    _mm512_storeu_si512(block + s * kBlock + 2 * t, _mm512_permutexvar_epi16(order, both(even, odd)));
}

PERMAFROST_INLINE void write_rows(Vector even, Vector odd, bf16* block, int64_t s, int64_t t) {
    const __m512i halves = both(even, odd);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block + s * kBlock + t), _mm512_castsi512_si256(halves));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(block + (s + 1) * kBlock + t), _mm512_extracti64x4_epi64(halves, 1));
}
#endif

// to[t][d] = from[d][t] for `count` columns of [size][kBlock], of which head_size rows are wanted.
template <typename E, typename In>
void write_columns(const float* from, int64_t count, int64_t size, int64_t head_size, E* packed, E* rows, In* to, int64_t to_stride) {
    for (int64_t d = 0; d < size; d += 2)
        for (int64_t t = 0; t < count; t += kWidth) write_packed(read(from + d * kBlock + t), read(from + (d + 1) * kBlock + t), packed, d, t);
    transpose(reinterpret_cast<const Group*>(packed), kBlock, size / kGroup<E>, round_up(count, 16), reinterpret_cast<Group*>(rows), size / kGroup<E>);
    for (int64_t t = 0; t < count; t++)
#pragma omp simd
        for (int64_t d = 0; d < head_size; d++) to[t * to_stride + d] = load<In>(rows[t * size + d]);
}

}  // namespace

}  // namespace permafrost::kernels::PERMAFROST_ISA

#endif
