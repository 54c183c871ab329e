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

#include "attention_blocks.h"

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

constexpr int64_t kPart = 32;    // queries whose scores are computed at a time: the smaller part is masked as a whole more often
constexpr float kNone = -1e30f;  // a maximum over no key yet

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
        static thread_local Piece kept[40];
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

// Which keys the queries of a sequence see by their place: from `floors` to `limits`, and those that all see.
class Sight {
public:
    Sight(const pf_attention_args& a, const Sizes& size, Scratch& scratch)
        : a_(a), queries_(size.queries), limits(scratch.take<int32_t>(size.queries)), floors(scratch.take<int32_t>(size.queries)), places(scratch.take<int32_t>(size.queries)),
          all(a.seen_by_all == nullptr ? nullptr : scratch.take<uint8_t>(size.keys)) {}

    void fill(int64_t batch) {
        const int64_t keys = a_.keys;
        for (int64_t t = 0; t < queries_; t++) {
            // Padding stands where the last query does, so that nothing is read far from what is there.
            const int64_t place = a_.positions == nullptr ? t : a_.positions[batch * a_.queries + std::min(t, a_.queries - 1)];
            places[t] = static_cast<int32_t>(place);
            limits[t] = static_cast<int32_t>(t >= a_.queries ? -1 : a_.after < 0 ? keys : std::min(keys, place + a_.after));
            floors[t] = static_cast<int32_t>(t >= a_.queries ? keys : a_.before < 0 ? 0 : std::min(keys, std::max<int64_t>(0, place - a_.before)));
        }
        if (all != nullptr) std::copy(a_.seen_by_all + batch * keys, a_.seen_by_all + (batch + 1) * keys, all);
    }

    // Whether any of these keys is seen by all.
    bool any(int64_t s0, int64_t keys) const {
        if (all == nullptr) return false;
        for (int64_t s = s0; s < std::min(s0 + keys, a_.keys); s++)
            if (all[s] != 0) return true;
        return false;
    }

    // Whether any of these queries sees any of these keys.
    bool meets(int64_t t0, int64_t count, int64_t s0, int64_t keys) const {
        return (largest(limits + t0, count) >= s0 && smallest(floors + t0, count) < s0 + keys) || any(s0, keys);
    }

    // Whether one of these queries does not see one of these keys.
    bool cuts(int64_t t0, int64_t count, int64_t s0, int64_t keys) const { return smallest(limits + t0, count) < s0 + keys - 1 || largest(floors + t0, count) > s0; }

    // How many of `keys` keys from s0 on any of these queries sees, rounded up: for those behind them nothing is computed.
    int64_t reach(int64_t t0, int64_t count, int64_t s0, int64_t keys, int64_t multiple, bool has_all) const {
        return has_all ? keys : std::min(keys, round_up(std::max<int64_t>(0, largest(limits + t0, count) + 1 - s0), multiple));
    }

    // How many keys each query sees that the mask does not hide: those of its own place, and those that all see.
    void count(const float* mask, int32_t* upto, int32_t* seen) const {
        const auto total = [&](bool shared) {
            upto[0] = 0;
            for (int64_t s = 0; s < a_.keys; s++) upto[s + 1] = upto[s] + (mask[s] == 0 && (!shared || all[s] != 0) ? 1 : 0);
        };
        const auto near = [&](int64_t t) { return limits[t] < floors[t] ? 0 : upto[std::min<int64_t>(limits[t] + 1, a_.keys)] - upto[floors[t]]; };
        total(false);
        for (int64_t t = 0; t < queries_; t++) seen[t] = near(t);
        if (all == nullptr) return;
        total(true);
        for (int64_t t = 0; t < queries_; t++) seen[t] += upto[a_.keys] - near(t);
    }

private:
    const pf_attention_args& a_;
    int64_t queries_;

public:
    int32_t* const limits;  // the last key that a query sees; -1 for padding
    int32_t* const floors;  // the first one
    int32_t* const places;
    uint8_t* const all;
};

// The numbers that one head adds to scores by distance, and their gradients, with room for what is padded on either side.
class Biases {
public:
    Biases(const pf_attention_args& a, Scratch& scratch)
        : a_(a), values_(a.bias == nullptr ? nullptr : scratch.take<float>(a.bias_columns + 2 * kRoom)),
          sums_(a.d_bias == nullptr || a.bias == nullptr ? nullptr : scratch.take<float>(a.bias_columns + 2 * kRoom)) {}

    bool there() const { return values_ != nullptr; }
    bool wanted() const { return sums_ != nullptr; }

    void begin(int64_t head) {
        if (values_ != nullptr) std::copy(a_.bias + head * a_.bias_columns, a_.bias + (head + 1) * a_.bias_columns, values_ + kRoom);
        if (sums_ != nullptr) std::fill(sums_, sums_ + a_.bias_columns + 2 * kRoom, 0.0f);
    }

    // Of queries t, t + 1, ... and key s.
    PERMAFROST_INLINE Vector of(const Sight& sight, int64_t t, int64_t s) const {
        const float* zero = values_ + kRoom + a_.bias_zero - s;
        if (a_.positions == nullptr) return read(zero + t);
        float lanes[kWidth];
        for (int i = 0; i < kWidth; i++) lanes[i] = zero[sight.places[t + i]];
        return read(lanes);
    }

    PERMAFROST_INLINE void add(const Sight& sight, int64_t t, int64_t s, Vector gradient) {
        float* zero = sums_ + kRoom + a_.bias_zero - s;
        if (a_.positions == nullptr) {
            write(read(zero + t) + gradient, zero + t);
            return;
        }
        for (int i = 0; i < kWidth; i++) zero[sight.places[t + i]] += gradient[i];
    }

    void end(int64_t item) {
        if (sums_ != nullptr) std::copy(sums_ + kRoom, sums_ + kRoom + a_.bias_columns, a_.d_bias + item * a_.bias_columns);
    }

private:
    static constexpr int64_t kRoom = 16;
    const pf_attention_args& a_;
    float* const values_;
    float* const sums_;
};

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
    Sight sight(a, size, scratch);
    Biases bias(a, scratch);
    uint32_t* query_keys = scratch.take<uint32_t>(size.queries);
    float* scores = scratch.take<float>(kBlock * kPart);
    E* probabilities = scratch.take<E>(kBlock * kBlock);
    float* out = scratch.take<float>(kBlock * size.head);  // [head][kBlock]
    const float scale = static_cast<float>(a.scale);
    const bool drops = a.dropout.probability > 0;
    const Keep keep(a.dropout);
    const bool biased = bias.there();
    [[maybe_unused]] const Tiles tiles;

    for (int64_t item = begin; item < end; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads, key_offset = head / (a.heads / a.key_heads) * a.head_size;
        copy_rows<E>(static_cast<const In*>(a.q) + batch * a.q_batch + head * a.head_size, a.q_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, q);
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + key_offset, a.k_token, a.keys, a.head_size, k, size.keys, size.head);
        copy_rows<E>(static_cast<const In*>(a.v) + batch * a.v_batch + key_offset, a.v_token, a.keys, a.head_size, rows, size.keys, size.head);
        transpose_blocks(rows, size.keys, size.head, packed, v);
        fill_key_mask(a, batch, size.keys, mask);
        sight.fill(batch);
        bias.begin(head);
        const uint32_t head_key = Keep::head_key(Keep::row_key(a.dropout, batch), head);
        for (int64_t t = 0; t < size.queries; t++) query_keys[t] = Keep::query_key(head_key, t);

        for (int64_t t0 = 0; t0 < a.queries; t0 += kBlock) {
            const int64_t count = std::min(kBlock, a.queries - t0), queries = std::min(kBlock, size.queries - t0);
            bool begun = false;
            float maximum[kBlock], sum[kBlock];
            std::fill(maximum, maximum + kBlock, kNone);
            std::fill(sum, sum + kBlock, 0.0f);
            for (int64_t s0 = 0; s0 < a.keys; s0 += kBlock) {
                const int64_t keys = std::min(kBlock, size.keys - s0);
                if (!sight.meets(t0, count, s0, keys)) continue;
                const bool cut = sight.cuts(t0, count, s0, keys), has_all = sight.any(s0, keys);
                for (int64_t part = 0; part < count; part += kPart) {
                    const int64_t width = std::min(kPart, round_up(count - part, kWidth)), reach = cut ? sight.reach(t0 + part, width, s0, keys, 16, has_all) : keys;
                    product(k + s0 * size.head, size.head, q + t0 * size.head + part * kGroup<E>, queries, reach, width, size.head, scores, kPart, false);
                    for (int64_t t = part; t < part + width; t += kWidth) {
                        const int64_t last = cut ? sight.reach(t0 + t, kWidth, s0, reach, 2, has_all) : reach;
                        const Integers limit = read<Integers>(sight.limits + t0 + t) - static_cast<int32_t>(s0);
                        const Integers floor = read<Integers>(sight.floors + t0 + t) - static_cast<int32_t>(s0);
                        float* score = scores + t - part;
                        const Vector before = read(maximum + t);
                        Vector high = before;
                        for (int64_t s = 0; s < last; s++) {
                            Vector value = read(score + s * kPart) * scale + mask[s0 + s];
                            if (biased) value += bias.of(sight, t0 + t, s0 + s);
                            if (cut && !(has_all && sight.all[s0 + s] != 0)) {
                                const int32_t key = static_cast<int32_t>(s);
                                value = limit < key || floor > key ? all(-std::numeric_limits<float>::infinity()) : value;
                            }
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
                        if (begun && std::memcmp(&shrink, &one, sizeof one) != 0)
                            for (int64_t d = 0; d < size.head; d++) write(read(out + d * kBlock + t) * shrink, out + d * kBlock + t);
                    }
                    product(v + s0 * size.head, keys, probabilities + part * kGroup<E>, kBlock, size.head, width, reach, out + part, kBlock, begun);
                }
                begun = true;
            }
            if (!begun) std::fill(out, out + size.head * kBlock, 0.0f);
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
    Sight sight(a, size, scratch);
    Biases bias(a, scratch);
    float* log_sum = scratch.take<float>(size.queries);
    float* delta = scratch.take<float>(size.queries);
    int32_t* upto = scratch.take<int32_t>(size.keys + 1);
    int32_t* seen = scratch.take<int32_t>(size.queries);
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
    const float inverse_scale = scale == 0 ? 0.0f : 1 / scale;
    const bool drops = a.dropout.probability > 0;
    const Keep keep(a.dropout);
    const bool biased = bias.there(), bias_wanted = bias.wanted();
    const int64_t group = a.heads / a.key_heads;
    // Where heads share keys, the sums of their gradients.
    float* dk_sum = group == 1 ? nullptr : scratch.take<float>(size.keys * size.head);
    float* dv_sum = group == 1 ? nullptr : scratch.take<float>(size.keys * size.head);
    [[maybe_unused]] const Tiles tiles;

    for (int64_t item = begin * group; item < end * group; item++) {
        const int64_t batch = item / a.heads, head = item % a.heads, member = head % group, offset = head * a.head_size, key_offset = head / group * a.head_size;
        copy_rows<E>(static_cast<const In*>(a.k) + batch * a.k_batch + key_offset, a.k_token, a.keys, a.head_size, k_rows, size.keys, size.head);
        transpose_blocks(k_rows, size.keys, size.head, packed, k_columns);
        copy_rows<E>(static_cast<const In*>(a.v) + batch * a.v_batch + key_offset, a.v_token, a.keys, a.head_size, v_rows, size.keys, size.head);
        copy_rows<E>(static_cast<const In*>(a.q) + batch * a.q_batch + offset, a.q_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, q_inner);
        pack_rows(rows, size.queries, size.head, q_outer);
        const int64_t out_token = a.heads * a.head_size, out_start = batch * a.queries * out_token + offset;
        const In *d_out = static_cast<const In*>(a.d_out) + out_start, *out = static_cast<const In*>(a.out) + out_start;
        copy_rows<E>(d_out, out_token, a.queries, a.head_size, rows, size.queries, size.head);
        pack_transposed(rows, size.queries, size.head, d_inner);
        pack_rows(rows, size.queries, size.head, d_outer);
        fill_key_mask(a, batch, size.keys, mask);
        sight.fill(batch);
        bias.begin(head);
        // 0 where a query sees a single key, whose probability is 1 whatever its score: rounding would leave a trace there, which an adaptive optimiser takes for a gradient.
        sight.count(mask, upto, seen);
        for (int64_t t = 0; t < size.queries; t++) slopes[t] = seen[t] > 1 ? scale : 0.0f;
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
                if (!sight.meets(t0, queries, s0, keys)) continue;
                const bool cut = sight.cuts(t0, queries, s0, keys), has_all = sight.any(s0, keys);
                for (int64_t part = 0; part < queries; part += kPart) {
                    const int64_t width = std::min(kPart, queries - part), reach = cut ? sight.reach(t0 + part, width, s0, keys, 16, has_all) : keys;
                    const int64_t from = t0 * size.head + part * kGroup<E>;
                    product(k_rows + s0 * size.head, size.head, q_inner + from, queries, reach, width, size.head, scores, kPart, false);
                    product(v_rows + s0 * size.head, size.head, d_inner + from, queries, reach, width, size.head, d_scores, kPart, false);
                    for (int64_t t = part; t < part + width; t += kWidth) {
                        const int64_t last = cut ? sight.reach(t0 + t, kWidth, s0, reach, 2, has_all) : reach;
                        const Vector lse = read(log_sum + t0 + t), minus = read(delta + t0 + t), slope = read(slopes + t0 + t);
                        const Integers limit = read<Integers>(sight.limits + t0 + t) - static_cast<int32_t>(s0);
                        const Integers floor = read<Integers>(sight.floors + t0 + t) - static_cast<int32_t>(s0);
                        const Bits keys_of = read<Bits>(query_keys + t0 + t);
                        // Probabilities of key s, as they were after dropout, and the gradient of its scores.
                        const auto row = [&](int64_t s, Vector& dropped, Vector& d_score) __attribute__((always_inline)) {
                            Vector value = read(scores + s * kPart + t - part) * scale + mask[s0 + s];
                            if (biased) value += bias.of(sight, t0 + t, s0 + s);
                            Vector p = exponential(value - lse);
                            if (cut && !(has_all && sight.all[s0 + s] != 0)) p = limit < static_cast<int32_t>(s) || floor > static_cast<int32_t>(s) ? Vector{} : p;
                            d_score = read(d_scores + s * kPart + t - part);
                            dropped = p;
                            if (drops) {
                                const Vector factor = factors(keep, keys_of, s0 + s);
                                dropped = p * factor;
                                d_score *= factor;
                            }
                            d_score = p * (d_score - minus) * slope;
                            if (bias_wanted) bias.add(sight, t0 + t, s0 + s, d_score * inverse_scale);
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
                In* to_k = static_cast<In*>(a.dk) + batch * a.k_batch + (s0 + s) * a.k_token + key_offset;
                In* to_v = static_cast<In*>(a.dv) + batch * a.v_batch + (s0 + s) * a.v_token + key_offset;
                const float *row_k = dk + s * size.head, *row_v = dv + s * size.head;
                if (group > 1) {
                    float *sum_k = dk_sum + (s0 + s) * size.head, *sum_v = dv_sum + (s0 + s) * size.head;
                    for (int64_t d = 0; d < a.head_size; d++) {
                        sum_k[d] = member == 0 ? row_k[d] : sum_k[d] + row_k[d];
                        sum_v[d] = member == 0 ? row_v[d] : sum_v[d] + row_v[d];
                    }
                    if (member < group - 1) continue;
                    row_k = sum_k;
                    row_v = sum_v;
                }
#pragma omp simd
                for (int64_t d = 0; d < a.head_size; d++) {
                    to_k[d] = from_float<In>(row_k[d]);
                    to_v[d] = from_float<In>(row_v[d]);
                }
            }
        }
        bias.end(item);
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
