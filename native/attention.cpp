// Attention that never writes the queries x keys matrix (Dao et al. 2022, "FlashAttention", algorithms 1 and 4): blocks of 64 by 64 scores, a running
// maximum and sum forward, scores computed again backward. One head of one sequence is one thread's work, so results do not depend on threads.
//
// Blocks are transposed, keys by queries, so that every lane of a vector is a query: maxima and sums over keys need no step across lanes, and backward the
// blocks come out in the order in which the gradients of keys and values take them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <type_traits>

#include "tiles.h"
#include "vector_math.h"

#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

constexpr int64_t kBlock = 64;
constexpr int64_t kPart = 32;    // queries whose scores are computed at a time: the smaller part is masked as a whole more often
constexpr float kNone = -1e30f;  // a maximum over no key yet

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

// e^x within 3 ulp, exactly 1 at 0; 0 below -87.3. Above 88 it is anything. What exponential() of vector_math.h does, with a shorter polynomial.
PERMAFROST_INLINE Vector exponential(Vector x) {
    const Integers small = x < -87.3f;
    const Vector bounded = small ? all(-87.3f) : x;              // a NaN stays one
    const Vector shifted = bounded * 1.44269504f + 12582912.0f;  // 1.5 * 2^23: the sum's low bits are the rounded integer
    const Vector n = shifted - 12582912.0f;
    const Vector r = bounded - n * 0.693359375f + n * 2.12194440e-4f;
    Vector p = all(8.290314030e-03f);
    p = p * r + 4.189793081e-02f;
    p = p * r + 1.666763570e-01f;
    p = p * r + 4.999915019e-01f;
    p = p * r + 9.999997453e-01f;
    p = p * r + 1.0f;
    const Vector result = reinterpret_cast<Vector>(reinterpret_cast<Integers>(p) + (reinterpret_cast<Integers>(shifted) << 23));
    return small ? Vector{} : result;
}

// Keep::factor of one key for several queries.
PERMAFROST_INLINE Vector factors(const Keep& keep, Bits query_keys, int64_t key) {
    const Bits hash = mix(mix(static_cast<uint32_t>(key) + keep.low) ^ query_keys);
    return hash >= keep.threshold ? all(keep.scale) : Vector{};
}

int32_t largest(const int32_t* limits, int64_t count) { return *std::max_element(limits, limits + count); }
int32_t smallest(const int32_t* limits, int64_t count) { return *std::min_element(limits, limits + count); }

// How many of `keys` keys from s0 on any of these queries sees, rounded up: for those behind them nothing is computed.
PERMAFROST_INLINE int64_t seen_keys(const int32_t* limits, int64_t count, int64_t s0, int64_t keys, int64_t multiple) {
    return std::min(keys, round_up(std::max<int64_t>(0, largest(limits, count) + 1 - s0), multiple));
}

// Memory of one thread, handed out in pieces that start at cache lines. What is not large stays for the thread's next call, since handing it
// out costs a tenth of attention over ten tokens, and the system would hand it out again a page at a time. Large pieces are small beside what is computed with them.
class Scratch {
public:
    Scratch() = default;
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

    template <typename T>
    T* take(int64_t count) {
        const int64_t bytes = round_up(count * static_cast<int64_t>(sizeof(T)), 64);
        Piece& piece = pieces()[taken_++];
        if (piece.bytes < bytes) piece.resize(bytes);
        std::memset(piece.memory, 0, static_cast<size_t>(bytes));
        return reinterpret_cast<T*>(piece.memory);
    }
    ~Scratch() {
        for (int i = 0; i < taken_; i++)
            if (pieces()[i].bytes > kKept) pieces()[i].resize(0);
    }

private:
    static constexpr int64_t kKept = 512 * 1024;
    struct Piece {
        char* memory = nullptr;
        int64_t bytes = 0;
        void resize(int64_t size) {
            ::operator delete[](memory, std::align_val_t(64));
            memory = nullptr;
            bytes = 0;
            if (size > 0) memory = static_cast<char*>(::operator new[](static_cast<size_t>(size), std::align_val_t(64)));
            bytes = size;
        }
        ~Piece() { resize(0); }
    };
    static Piece* pieces() {
        static thread_local Piece kept[32];
        return kept;
    }
    int taken_ = 0;
};

struct Sizes {
    int64_t queries, keys, head;  // padded to multiples of 16
    explicit Sizes(const pf_attention_args& a) : queries(round_up(a.queries, 16)), keys(round_up(a.keys, 16)), head(round_up(a.head_size, 16)) {}
};

// 0 for keys that may be seen, minus infinity for masked ones and for padding.
void fill_key_mask(const pf_attention_args& a, int64_t batch, int64_t padded, float* mask) {
    for (int64_t s = 0; s < padded; s++)
        mask[s] = s < a.keys && (a.key_mask == nullptr || a.key_mask[batch * a.keys + s] != 0) ? 0.0f : -std::numeric_limits<float>::infinity();
}

// The last key that each query sees; -1 for padding.
void fill_limits(const pf_attention_args& a, int64_t batch, int64_t padded, int32_t* limits) {
    for (int64_t t = 0; t < padded; t++)
        limits[t] = t >= a.queries ? -1 : !a.causal ? static_cast<int32_t>(a.keys) : static_cast<int32_t>(a.positions == nullptr ? t : a.positions[batch * a.queries + t]);
}

// What a query's gradient of scores is multiplied with: the scale; and 0 where it sees a single key, whose probability is 1 whatever its score. Rounding
// would leave a trace there, which an adaptive optimiser takes for a gradient.
void fill_slopes(const pf_attention_args& a, const float* mask, const int32_t* limits, int64_t padded, int32_t* seen, float* slopes) {
    seen[0] = 0;
    for (int64_t s = 0; s < a.keys; s++) seen[s + 1] = seen[s] + (mask[s] == 0 ? 1 : 0);
    for (int64_t t = 0; t < padded; t++) slopes[t] = seen[std::min<int64_t>(limits[t] + 1, a.keys)] > 1 ? static_cast<float>(a.scale) : 0.0f;
}

template <typename E, typename In>
void forward_of(const pf_attention_args& a, int64_t begin, int64_t end) {
    const Sizes size(a);
    Scratch scratch;
    E* rows = scratch.take<E>(std::max(size.keys, std::max(size.queries, kBlock)) * size.head);
    E* packed = scratch.take<E>(std::max(size.keys, kBlock) * size.head);
    E* q = scratch.take<E>(size.queries * size.head);
    E* k = scratch.take<E>(size.keys * size.head);
    E* v = scratch.take<E>(size.keys * size.head);
    float* mask = scratch.take<float>(size.keys);
    int32_t* limits = scratch.take<int32_t>(size.queries);
    uint32_t* query_keys = scratch.take<uint32_t>(size.queries);
    float* scores = scratch.take<float>(kBlock * kPart);
    E* probabilities = scratch.take<E>(kBlock * kBlock);
    float* out = scratch.take<float>(kBlock * size.head);  // [head][kBlock]
    const float scale = static_cast<float>(a.scale);
    const bool drops = a.dropout.probability > 0;
    const Keep keep(a.dropout);
    [[maybe_unused]] const Tiles tiles;

    for (int64_t item = begin; item < end; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads;
        copy_rows<E>(static_cast<const In*>(a.q) + batch * a.q_batch + head * a.head_size, a.q_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, q);
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + head * a.head_size, a.k_token, a.keys, a.head_size, k, size.keys, size.head);
        copy_rows<E>(static_cast<const In*>(a.v) + batch * a.v_batch + head * a.head_size, a.v_token, a.keys, a.head_size, rows, size.keys, size.head);
        transpose_blocks(rows, size.keys, size.head, packed, v);
        fill_key_mask(a, batch, size.keys, mask);
        fill_limits(a, batch, size.queries, limits);
        const uint32_t head_key = Keep::head_key(Keep::row_key(a.dropout, batch), head);
        for (int64_t t = 0; t < size.queries; t++) query_keys[t] = Keep::query_key(head_key, t);

        for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
            const int64_t count = std::min(kBlock, a.queries - t0), queries = std::min(kBlock, size.queries - t0);
            const int32_t seen = largest(limits + t0, count);
            float maximum[kBlock], sum[kBlock];
            std::fill(maximum, maximum + kBlock, kNone);
            std::fill(sum, sum + kBlock, 0.0f);
            if (a.keys == 0 || seen < 0) std::fill(out, out + size.head * kBlock, 0.0f);
            for (int64_t s0 = 0; s0 < a.keys && s0 <= seen; s0 += kBlock) {
                const int64_t keys = std::min(kBlock, size.keys - s0);
                const bool cut = smallest(limits + t0, count) < s0 + keys - 1;
                for (int64_t part = 0; part < count; part += kPart) {
                    const int64_t width = std::min(kPart, round_up(count - part, kWidth)), reach = cut ? seen_keys(limits + t0 + part, width, s0, keys, 16) : keys;
                    product(k + s0 * size.head, size.head, q + t0 * size.head + part * kGroup<E>, queries, reach, width, size.head, scores, kPart, false);
                    for (int64_t t = part; t < part + width; t += kWidth) {
                        const int64_t last = cut ? seen_keys(limits + t0 + t, kWidth, s0, reach, 2) : reach;
                        const Integers limit = read<Integers>(limits + t0 + t) - static_cast<int32_t>(s0);
                        float* score = scores + t - part;
                        const Vector before = read(maximum + t);
                        Vector high = before;
                        for (int64_t s = 0; s < last; s++) {
                            Vector value = read(score + s * kPart) * scale + mask[s0 + s];
                            if (cut) value = limit < static_cast<int32_t>(s) ? all(-std::numeric_limits<float>::infinity()) : value;
                            write(value, score + s * kPart);
                            high = value > high ? value : high;
                        }
                        const Vector shrink = exponential(before - high);
                        Vector total = read(sum + t) * shrink;
                        for (int64_t s = 0; s < last; s += 2) {
                            Vector even = exponential(read(score + s * kPart) - high), odd = exponential(read(score + (s + 1) * kPart) - high);
                            total += even + odd;
                            if (drops) {
                                const Bits keys_of = read<Bits>(query_keys + t0 + t);
                                even *= factors(keep, keys_of, s0 + s);
                                odd *= factors(keep, keys_of, s0 + s + 1);
                            }
                            write_packed(even, odd, probabilities, s, t);
                        }
                        for (int64_t s = last; s < reach; s += 2) write_packed(Vector{}, Vector{}, probabilities, s, t);
                        write(high, maximum + t);
                        write(total, sum + t);
                        const Vector one = all(1.0f);
                        if (s0 > 0 && std::memcmp(&shrink, &one, sizeof one) != 0)
                            for (int64_t d = 0; d < size.head; d++) write(read(out + d * kBlock + t) * shrink, out + d * kBlock + t);
                    }
                    product(v + s0 * size.head, keys, probabilities + part * kGroup<E>, kBlock, size.head, width, reach, out + part, kBlock, s0 > 0);
                }
            }
            // A query that sees no key has no sum: it gives zeros, and backward an exponent of minus infinity.
            for (int64_t t = 0; t < count; t += kWidth) {
                const Vector total = read(sum + t), inverse = total == 0.0f ? Vector{} : 1.0f / total;
                for (int64_t d = 0; d < size.head; d++) write(read(out + d * kBlock + t) * inverse, out + d * kBlock + t);
            }
            for (int64_t t = 0; t < count; t++)
                a.log_sum[item * a.queries + t0 + t] = sum[t] == 0 ? std::numeric_limits<float>::infinity() : maximum[t] + std::log(sum[t]);
            In* to = static_cast<In*>(a.out) + ((batch * a.queries + t0) * a.heads + head) * a.head_size;
            write_columns(out, count, size.head, a.head_size, packed, rows, to, a.heads * a.head_size);
        }
    }
}

template <typename E, typename In>
void backward_of(const pf_attention_args& a, int64_t begin, int64_t end) {
    const Sizes size(a);
    Scratch scratch;
    const int64_t most = std::max(kBlock, std::max(size.keys, size.queries));
    E* rows = scratch.take<E>(most * size.head);
    E* packed = scratch.take<E>(most * size.head);
    E* k_rows = scratch.take<E>(size.keys * size.head);
    E* v_rows = scratch.take<E>(size.keys * size.head);
    E* k_columns = scratch.take<E>(size.keys * size.head);
    E* q_inner = scratch.take<E>(size.queries * size.head);
    E* q_outer = scratch.take<E>(size.queries * size.head);
    E* d_inner = scratch.take<E>(size.queries * size.head);
    E* d_outer = scratch.take<E>(size.queries * size.head);
    float* mask = scratch.take<float>(size.keys);
    int32_t* limits = scratch.take<int32_t>(size.queries);
    float* log_sum = scratch.take<float>(size.queries);
    float* delta = scratch.take<float>(size.queries);
    int32_t* seen = scratch.take<int32_t>(size.keys + 1);
    float* slopes = scratch.take<float>(size.queries);
    float* scores = scratch.take<float>(kBlock * kPart);
    float* d_scores = scratch.take<float>(kBlock * kPart);
    E* p_block = scratch.take<E>(kBlock * kBlock);
    E* ds_block = scratch.take<E>(kBlock * kBlock);
    E* ds_packed = kGroup<E> == 1 ? ds_block : scratch.take<E>(kBlock * kBlock);
    float* dq = scratch.take<float>(round_up(size.queries, kBlock) * size.head);  // a [head][kBlock] for every kBlock queries
    float* dk = scratch.take<float>(kBlock * size.head);
    float* dv = scratch.take<float>(kBlock * size.head);
    uint32_t* query_keys = scratch.take<uint32_t>(size.queries);
    const float scale = static_cast<float>(a.scale);
    const bool drops = a.dropout.probability > 0;
    const Keep keep(a.dropout);
    [[maybe_unused]] const Tiles tiles;

    for (int64_t item = begin; item < end; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads, offset = head * a.head_size;
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + offset, a.k_token, a.keys, a.head_size, k_rows, size.keys, size.head);
        transpose_blocks(k_rows, size.keys, size.head, packed, k_columns);
        copy_rows<E>(static_cast<const In*>(a.v) + batch * a.v_batch + offset, a.v_token, a.keys, a.head_size, v_rows, size.keys, size.head);
        copy_rows<E>(static_cast<const In*>(a.q) + batch * a.q_batch + offset, a.q_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, q_inner);
        pack_rows(rows, size.queries, size.head, q_outer);
        const int64_t out_token = a.heads * a.head_size, out_start = batch * a.queries * out_token + offset;
        const In *d_out = static_cast<const In*>(a.d_out) + out_start, *out = static_cast<const In*>(a.out) + out_start;
        copy_rows<E>(d_out, out_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, d_inner);
        pack_rows(rows, size.queries, size.head, d_outer);
        fill_key_mask(a, batch, size.keys, mask);
        fill_limits(a, batch, size.queries, limits);
        fill_slopes(a, mask, limits, size.queries, seen, slopes);
        for (int64_t t = 0; t < size.queries; t++) {
            log_sum[t] = t < a.queries ? a.log_sum[item * a.queries + t] : std::numeric_limits<float>::infinity();
            float total = 0;
            if (t < a.queries) {
                const In *left = d_out + t * out_token, *right = out + t * out_token;
#pragma omp simd reduction(+ : total)
                for (int64_t d = 0; d < a.head_size; d++) total += to_float(left[d]) * to_float(right[d]);
            }
            delta[t] = total;
        }
        std::fill(dq, dq + round_up(size.queries, kBlock) * size.head, 0.0f);
        const uint32_t head_key = Keep::head_key(Keep::row_key(a.dropout, batch), head);
        for (int64_t t = 0; t < size.queries; t++) query_keys[t] = Keep::query_key(head_key, t);

        for (int64_t s0 = 0; s0 < a.keys; s0 += kBlock) {
            const int64_t keys = std::min(kBlock, size.keys - s0);
            bool begun = false;
            for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
                const int64_t queries = std::min(kBlock, size.queries - t0);
                if (largest(limits + t0, queries) < s0) continue;
                const bool cut = smallest(limits + t0, queries) < s0 + keys - 1;
                for (int64_t part = 0; part < queries; part += kPart) {
                    const int64_t width = std::min(kPart, queries - part), reach = cut ? seen_keys(limits + t0 + part, width, s0, keys, 16) : keys;
                    const int64_t from = t0 * size.head + part * kGroup<E>;
                    product(k_rows + s0 * size.head, size.head, q_inner + from, queries, reach, width, size.head, scores, kPart, false);
                    product(v_rows + s0 * size.head, size.head, d_inner + from, queries, reach, width, size.head, d_scores, kPart, false);
                    for (int64_t t = part; t < part + width; t += kWidth) {
                        const int64_t last = cut ? seen_keys(limits + t0 + t, kWidth, s0, reach, 2) : reach;
                        const Vector lse = read(log_sum + t0 + t), minus = read(delta + t0 + t), slope = read(slopes + t0 + t);
                        const Integers limit = read<Integers>(limits + t0 + t) - static_cast<int32_t>(s0);
                        const Bits keys_of = read<Bits>(query_keys + t0 + t);
                        // Probabilities of key s, as they were after dropout, and the gradient of its scores.
                        const auto row = [&](int64_t s, Vector& dropped, Vector& d_score) __attribute__((always_inline)) {
                            Vector p = exponential(read(scores + s * kPart + t - part) * scale + mask[s0 + s] - lse);
                            if (cut) p = limit < static_cast<int32_t>(s) ? Vector{} : p;
                            d_score = read(d_scores + s * kPart + t - part);
                            dropped = p;
                            if (drops) {
                                const Vector factor = factors(keep, keys_of, s0 + s);
                                dropped = p * factor;
                                d_score *= factor;
                            }
                            d_score = p * (d_score - minus) * slope;
                        };
                        for (int64_t s = 0; s < last; s += 2) {
                            Vector p_even, p_odd, ds_even, ds_odd;
                            row(s, p_even, ds_even);
                            row(s + 1, p_odd, ds_odd);
                            write_rows(p_even, p_odd, p_block, s, t);
                            write_rows(ds_even, ds_odd, ds_block, s, t);
                            if constexpr (kGroup<E> == 2) write_packed(ds_even, ds_odd, ds_packed, s, t);
                        }
                        for (int64_t s = last; s < keys; s += 2) {
                            write_rows(Vector{}, Vector{}, p_block, s, t);
                            write_rows(Vector{}, Vector{}, ds_block, s, t);
                            if constexpr (kGroup<E> == 2) write_packed(Vector{}, Vector{}, ds_packed, s, t);
                        }
                    }
                    product(k_columns + s0 * size.head, keys, ds_packed + part * kGroup<E>, kBlock, size.head, width, reach, dq + t0 * size.head + part, kBlock, true);
                }
                product(p_block, kBlock, d_outer + t0 * size.head, size.head, keys, size.head, queries, dv, size.head, begun);
                product(ds_block, kBlock, q_outer + t0 * size.head, size.head, keys, size.head, queries, dk, size.head, begun);
                begun = true;
            }
            if (!begun) {
                std::fill(dk, dk + keys * size.head, 0.0f);
                std::fill(dv, dv + keys * size.head, 0.0f);
            }
            for (int64_t s = 0; s < keys && s0 + s < a.keys; s++) {
                In* to_k = static_cast<In*>(a.dk) + batch * a.k_batch + (s0 + s) * a.k_token + offset;
                In* to_v = static_cast<In*>(a.dv) + batch * a.v_batch + (s0 + s) * a.v_token + offset;
                const float *row_k = dk + s * size.head, *row_v = dv + s * size.head;
#pragma omp simd
                for (int64_t d = 0; d < a.head_size; d++) {
                    to_k[d] = from_float<In>(row_k[d]);
                    to_v[d] = from_float<In>(row_v[d]);
                }
            }
        }
        for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
            In* to = static_cast<In*>(a.dq) + batch * a.q_batch + t0 * a.q_token + offset;
            write_columns(dq + t0 * size.head, std::min(kBlock, a.queries - t0), size.head, a.head_size, packed, rows, to, a.q_token);
        }
    }
}

#ifdef __AVX512BF16__
using Half = bf16;
#else
using Half = float;  // no instruction for bfloat16: its numbers are widened as they are read
#endif

void attention_forward(const pf_attention_args& a, int64_t begin, int64_t end) {
    if (a.type == PF_FLOAT32) forward_of<float, float>(a, begin, end);
    else forward_of<Half, bf16>(a, begin, end);
}

void attention_backward(const pf_attention_args& a, int64_t begin, int64_t end) {
    if (a.type == PF_FLOAT32) backward_of<float, float>(a, begin, end);
    else backward_of<Half, bf16>(a, begin, end);
}

}  // namespace

void add_attention(Kernels& kernels) {
    kernels.attention_forward = attention_forward;
    kernels.attention_backward = attention_backward;
}

}  // namespace permafrost::kernels::PERMAFROST_ISA
