// Attention that never writes the queries x keys matrix (Dao et al. 2022, "FlashAttention", algorithms 1 and 4): blocks of 64 by 64 scores, a running
// maximum and sum forward, scores computed again backward. One head of one sequence is one thread's work, so results do not depend on threads.
//
// Backward works on transposed blocks (keys by queries): it needs no sums over keys, and so the blocks come out in the order in which the gradients
// of keys and values take them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <type_traits>

#include "vector_math.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

constexpr int64_t kBlock = 64;
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

// Numbers of `inner` that lie side by side in packed memory.
template <typename E>
constexpr int kGroup = sizeof(E) == 2 ? 2 : 1;

template <int R, int C>
PERMAFROST_INLINE void tile(const float* a, int64_t a_stride, const float* b, int64_t b_columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    Vector sum[R][C];
    for (int r = 0; r < R; r++)
        for (int j = 0; j < C; j++) {
            if (add) std::memcpy(&sum[r][j], c + r * c_stride + j * kWidth, sizeof(Vector));
            else sum[r][j] = Vector{};
        }
    for (int64_t k = 0; k < inner; k++) {
        Vector row[C];
        for (int j = 0; j < C; j++) std::memcpy(&row[j], b + k * b_columns + j * kWidth, sizeof(Vector));
        for (int r = 0; r < R; r++) {
            const float value = a[r * a_stride + k];
            for (int j = 0; j < C; j++) sum[r][j] += value * row[j];
        }
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < C; j++) std::memcpy(c + r * c_stride + j * kWidth, &sum[r][j], sizeof(Vector));
}

#ifdef __AVX512BF16__
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

// columns: a multiple of 16; inner: of kGroup.
template <typename E>
void product(const E* a, int64_t a_stride, const E* b, int64_t b_columns, int64_t rows, int64_t columns, int64_t inner, float* c, int64_t c_stride, bool add) {
    int64_t r = 0;
    for (; r + kTileRows <= rows; r += kTileRows) row_tiles<kTileRows>(a + r * a_stride, a_stride, b, b_columns, columns, inner, c + r * c_stride, c_stride, add);
    for (; r < rows; r++) row_tiles<1>(a + r * a_stride, a_stride, b, b_columns, columns, inner, c + r * c_stride, c_stride, add);
}

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

// [rows][size] to [size / G][rows][G]: for products over `size`.
template <typename E>
void pack_transposed(const E* rows, int64_t count, int64_t size, E* to) {
    using Group = std::conditional_t<kGroup<E> == 2, uint32_t, float>;
    const Group* from = reinterpret_cast<const Group*>(rows);
    Group* out = reinterpret_cast<Group*>(to);
    const int64_t groups = size / kGroup<E>;
    // 16 rows at a time: what is read and what is written both stay in the first-level cache.
    for (int64_t r = 0; r < count; r += 16)
        for (int64_t d = 0; d < groups; d++)
            for (int64_t i = r; i < r + 16; i++) out[d * count + i] = from[i * groups + d];
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

template <typename E>
void transpose(const E* rows, int64_t count, int64_t size, E* to) {
    for (int64_t r = 0; r < count; r += 16)
        for (int64_t d = 0; d < size; d++)
            for (int64_t i = r; i < r + 16; i++) to[d * count + i] = rows[i * size + d];
}

// Memory of one thread, handed out in pieces that start at cache lines.
class Scratch {
public:
    template <typename T>
    T* take(int64_t count) {
        const int64_t bytes = round_up(count * static_cast<int64_t>(sizeof(T)), 64);
        blocks_.emplace_back(static_cast<char*>(::operator new[](static_cast<size_t>(bytes), std::align_val_t(64))));
        std::memset(blocks_.back(), 0, static_cast<size_t>(bytes));
        return reinterpret_cast<T*>(blocks_.back());
    }
    ~Scratch() {
        for (int i = 0; i < blocks_.count; i++) ::operator delete[](blocks_.items[i], std::align_val_t(64));
    }

private:
    struct List {
        char* items[24];
        int count = 0;
        void emplace_back(char* block) { items[count++] = block; }
        char* back() const { return items[count - 1]; }
    } blocks_;
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

int32_t largest(const int32_t* limits, int64_t count) { return *std::max_element(limits, limits + count); }
int32_t smallest(const int32_t* limits, int64_t count) { return *std::min_element(limits, limits + count); }

template <typename E, typename In>
void forward_of(const pf_attention_args& a, int64_t begin, int64_t end) {
    const Sizes size(a);
    Scratch scratch;
    E* rows = scratch.take<E>(size.keys * size.head);
    E* q = scratch.take<E>(size.queries * size.head);
    E* k = scratch.take<E>(size.keys * size.head);
    E* v = scratch.take<E>(size.keys * size.head);
    float* mask = scratch.take<float>(size.keys);
    int32_t* limits = scratch.take<int32_t>(size.queries);
    float* scores = scratch.take<float>(kBlock * kBlock);
    E* probabilities = scratch.take<E>(kBlock * kBlock);
    float* out = scratch.take<float>(kBlock * size.head);
    const float scale = static_cast<float>(a.scale);
    const Keep keep(a.dropout);

    for (int64_t item = begin; item < end; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads;
        const uint32_t head_key = Keep::head_key(Keep::row_key(a.dropout, batch), head);
        copy_rows<E>(static_cast<const In*>(a.q) + batch * a.q_batch + head * a.head_size, a.q_token, a.queries, a.head_size, q, size.queries, size.head);
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + head * a.head_size, a.k_token, a.keys, a.head_size, rows, size.keys, size.head);
        pack_transposed(rows, size.keys, size.head, k);
        copy_rows<E>(static_cast<const In*>(a.v) + batch * a.v_batch + head * a.head_size, a.v_token, a.keys, a.head_size, rows, size.keys, size.head);
        pack_rows(rows, size.keys, size.head, v);
        fill_key_mask(a, batch, size.keys, mask);
        fill_limits(a, batch, size.queries, limits);

        for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
            const int64_t count = std::min(kBlock, a.queries - t0);
            const int32_t seen = largest(limits + t0, count);
            float maximum[kBlock], sum[kBlock];
            std::fill(maximum, maximum + kBlock, kNone);
            std::fill(sum, sum + kBlock, 0.0f);
            std::fill(out, out + count * size.head, 0.0f);
            for (int64_t s0 = 0; s0 < a.keys && s0 <= seen; s0 += kBlock) {
                const int64_t columns = std::min(kBlock, size.keys - s0);
                product(q + t0 * size.head, size.head, k + s0 * kGroup<E>, size.keys, count, columns, size.head, scores, kBlock, false);
                const bool cut = smallest(limits + t0, count) < s0 + columns - 1;
                for (int64_t t = 0; t < count; t++) {
                    float* score = scores + t * kBlock;
                    const int32_t limit = limits[t0 + t] - static_cast<int32_t>(s0);
                    float high = maximum[t];
#pragma omp simd reduction(max : high)
                    for (int64_t s = 0; s < columns; s++) {
                        float value = score[s] * scale + mask[s0 + s];
                        value = cut && s > limit ? -std::numeric_limits<float>::infinity() : value;
                        score[s] = value;
                        high = value > high ? value : high;
                    }
                    const float shrink = std::exp(maximum[t] - high);
                    maximum[t] = high;
                    float total = 0;
#pragma omp simd reduction(+ : total)
                    for (int64_t s = 0; s < columns; s++) {
                        score[s] = exponential(score[s] - high);
                        total += score[s];
                    }
                    sum[t] = sum[t] * shrink + total;
                    E* probability = probabilities + t * kBlock;
                    if (a.dropout.probability > 0) {
                        const uint32_t key = Keep::query_key(head_key, t0 + t), first = static_cast<uint32_t>(s0);
#pragma omp simd
                        for (int64_t s = 0; s < columns; s++) probability[s] = from_float<E>(score[s] * keep.factor(key, first + static_cast<uint32_t>(s)));
                    } else {
#pragma omp simd
                        for (int64_t s = 0; s < columns; s++) probability[s] = from_float<E>(score[s]);
                    }
                    if (s0 > 0 && shrink != 1.0f) {
                        float* row = out + t * size.head;
#pragma omp simd
                        for (int64_t d = 0; d < size.head; d++) row[d] *= shrink;
                    }
                }
                product(probabilities, kBlock, v + s0 * size.head, size.head, count, size.head, columns, out, size.head, true);
            }
            for (int64_t t = 0; t < count; t++) {
                // A query that sees no key has no sum: it gives zeros, and backward an exponent of minus infinity.
                const float inverse = sum[t] == 0 ? 0.0f : 1.0f / sum[t];
                In* to = static_cast<In*>(a.out) + ((batch * a.queries + t0 + t) * a.heads + head) * a.head_size;
                const float* row = out + t * size.head;
#pragma omp simd
                for (int64_t d = 0; d < a.head_size; d++) to[d] = from_float<In>(row[d] * inverse);
                a.log_sum[item * a.queries + t0 + t] = sum[t] == 0 ? std::numeric_limits<float>::infinity() : maximum[t] + std::log(sum[t]);
            }
        }
    }
}

template <typename E, typename In>
void backward_of(const pf_attention_args& a, int64_t begin, int64_t end) {
    const Sizes size(a);
    Scratch scratch;
    E* rows = scratch.take<E>(std::max(size.keys, size.queries) * size.head);
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
    float* scores = scratch.take<float>(kBlock * kBlock);
    float* d_scores = scratch.take<float>(kBlock * kBlock);
    E* p_block = scratch.take<E>(kBlock * kBlock);
    E* ds_block = scratch.take<E>(kBlock * kBlock);
    E* ds_packed = scratch.take<E>(kBlock * kBlock);
    float* dq = scratch.take<float>(size.queries * size.head);  // [head][queries]
    float* dk = scratch.take<float>(kBlock * size.head);
    float* dv = scratch.take<float>(kBlock * size.head);
    uint32_t* query_keys = scratch.take<uint32_t>(size.queries);
    const float scale = static_cast<float>(a.scale);
    const Keep keep(a.dropout);

    for (int64_t item = begin; item < end; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads, offset = head * a.head_size;
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + offset, a.k_token, a.keys, a.head_size, k_rows, size.keys, size.head);
        transpose(k_rows, size.keys, size.head, k_columns);
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
        std::fill(dq, dq + size.queries * size.head, 0.0f);
        const uint32_t head_key = Keep::head_key(Keep::row_key(a.dropout, batch), head);
        for (int64_t t = 0; t < size.queries; t++) query_keys[t] = Keep::query_key(head_key, t);

        for (int64_t s0 = 0; s0 < a.keys; s0 += kBlock) {
            const int64_t keys = std::min(kBlock, size.keys - s0);
            std::fill(dk, dk + keys * size.head, 0.0f);
            std::fill(dv, dv + keys * size.head, 0.0f);
            for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
                const int64_t queries = std::min(kBlock, size.queries - t0);
                if (largest(limits + t0, queries) < s0) continue;
                const bool cut = smallest(limits + t0, queries) < s0 + keys - 1;
                product(k_rows + s0 * size.head, size.head, q_inner + t0 * kGroup<E>, size.queries, keys, queries, size.head, scores, kBlock, false);
                product(v_rows + s0 * size.head, size.head, d_inner + t0 * kGroup<E>, size.queries, keys, queries, size.head, d_scores, kBlock, false);
                for (int64_t s = 0; s < keys; s++) {
                    const float *score = scores + s * kBlock, *d_score = d_scores + s * kBlock;
                    E *p_row = p_block + s * kBlock, *ds_row = ds_block + s * kBlock;
                    const int32_t key = static_cast<int32_t>(s0 + s);
                    const float hidden = mask[s0 + s];
                    const float* lse = log_sum + t0;
                    const float* minus = delta + t0;
                    const float* slope = slopes + t0;
                    const int32_t* limit = limits + t0;
                    if (a.dropout.probability > 0) {
                        const uint32_t* query_key = query_keys + t0;
#pragma omp simd
                        for (int64_t t = 0; t < queries; t++) {
                            float p = exponential(score[t] * scale + hidden - lse[t]);
                            p = cut && key > limit[t] ? 0.0f : p;
                            const float factor = keep.factor(query_key[t], static_cast<uint32_t>(key));
                            p_row[t] = from_float<E>(p * factor);
                            ds_row[t] = from_float<E>(p * (d_score[t] * factor - minus[t]) * slope[t]);
                        }
                    } else {
#pragma omp simd
                        for (int64_t t = 0; t < queries; t++) {
                            float p = exponential(score[t] * scale + hidden - lse[t]);
                            p = cut && key > limit[t] ? 0.0f : p;
                            p_row[t] = from_float<E>(p);
                            ds_row[t] = from_float<E>(p * (d_score[t] - minus[t]) * slope[t]);
                        }
                    }
                }
                product(p_block, kBlock, d_outer + t0 * size.head, size.head, keys, size.head, queries, dv, size.head, true);
                product(ds_block, kBlock, q_outer + t0 * size.head, size.head, keys, size.head, queries, dk, size.head, true);
                pack_rows(ds_block, keys, kBlock, ds_packed);
                product(k_columns + s0, size.keys, ds_packed, kBlock, size.head, queries, keys, dq + t0, size.queries, true);
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
        for (int64_t t = 0; t < a.queries; t++) {
            In* to = static_cast<In*>(a.dq) + batch * a.q_batch + t * a.q_token + offset;
            for (int64_t d = 0; d < a.head_size; d++) to[d] = from_float<In>(dq[d * size.queries + t]);
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
