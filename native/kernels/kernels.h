// The CPU kernels behind the `permafrost::` operators: plain functions over memory, without tensors. Each is compiled once for every instruction
// set that its source is worth (CMakeLists.txt); dispatch.cpp picks the best that the processor has. See docs/performance.md.
#ifndef PERMAFROST_KERNELS_H
#define PERMAFROST_KERNELS_H

#include <cstdint>
#include <string>

namespace permafrost::kernels {

using bf16 = uint16_t;  // bfloat16: the upper half of a float

// What is computed with: float, or bfloat16 held in memory with float arithmetic.
enum class Type : int32_t { Float, BFloat16 };

struct Dropout {
    float probability;  // 0: nothing is dropped
    uint64_t seed;      // with an element's index it decides whether that element is dropped
};

// ---- rows: norms, residuals, activations (rows.cpp) ----

// sum = x + dropout(y); normed = (sum - mean) * rstd * weight + bias. y and sum may be null together: then x itself is normalised.
struct NormForward {
    int64_t rows, width;
    const float* x;
    const void* y;
    Type y_type;
    Dropout dropout;
    const float* weight;
    const float* bias;
    float epsilon;
    float* sum;
    void* normed;
    Type normed_type;
    float* mean;
    float* rstd;
};

// dx = sum's gradient + the norm's; dy = dropout's share of dx. Gradients of weight and bias are added to `partial` (2 x width of a thread).
struct NormBackward {
    int64_t rows, width;
    const float* sum;
    const float* mean;
    const float* rstd;
    const float* weight;
    const void* d_normed;
    Type d_normed_type;
    const float* d_sum;  // may be null
    Dropout dropout;
    float* dx;
    void* dy;  // may be null
    Type dy_type;
};

enum class Activation : int32_t { None, GeluTanh, GeluErf, Relu };

// ---- attention (attention.cpp) ----

// softmax(scale q k^T + mask) v, T x S never written. Element (b, t, h, d) of q lies at q[b * q_batch + t * q_token + h * head_size + d]; k, v and out alike.
struct Attention {
    int64_t batch, heads, queries, keys, head_size;
    const void *q, *k, *v;
    int64_t q_batch, q_token, k_batch, k_token, v_batch, v_token;
    void* out;  // (batch, queries, heads, head_size), contiguous
    Type type;
    float scale;
    bool causal;
    const int64_t* positions;  // (batch, queries): what a causal query sees ends here; null: 0, 1, 2, ...
    const uint8_t* key_mask;   // (batch, keys), 0 hides a key; may be null
    Dropout dropout;
    float* log_sum;            // (batch, heads, queries)
    // Backward only; gradients have the strides of what they belong to.
    const void* d_out;
    void *dq, *dk, *dv;
};

// ---- bfloat16 products with frozen weights (product.cpp) ----

// A (inputs x outputs) weight as the product reads it: panels of 48 outputs, in each the inputs two by two; zeros fill up to multiples of 16.
constexpr int64_t kPanel = 48;
constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t packed_elements(int64_t inputs, int64_t outputs) { return round_up(inputs, 16) * round_up(outputs, 16); }

struct Product {
    int64_t rows, inputs, outputs;  // of the weight; the transposed product takes `outputs` numbers a row and gives `inputs`
    bool transposed;
    const bf16* x;                  // rows, contiguous
    const bf16* weight;             // packed
    const float* bias;              // may be null
    Activation activation;
    void* y;
    Type y_type;
    bf16* slope;                    // the activation's derivative, for the gradient; may be null
};

// What one instruction set offers. Ranges [begin, end) are rows, or for attention batch * heads, so that callers can share the work out.
struct Kernels {
    const char* name;
    void (*norm_forward)(const NormForward&, int64_t begin, int64_t end);
    void (*norm_backward)(const NormBackward&, float* partial, int64_t begin, int64_t end);
    // y = activation(x + bias), slope = its derivative; over rows of `width`, bias may be null.
    void (*activate)(const float* x, const float* bias, Activation, int64_t width, float* y, float* slope, int64_t begin, int64_t end);
    void (*multiply)(const void* a, const void* b, void* result, Type, int64_t begin, int64_t end);
    void (*dropout)(const void* x, void* y, Type, Dropout, int64_t begin, int64_t end);
    void (*convert)(const void* x, Type from, void* y, Type to, int64_t begin, int64_t end);
    void (*attention_forward)(const Attention&, int64_t begin, int64_t end);
    void (*attention_backward)(const Attention&, int64_t begin, int64_t end);
    // Null where the processor cannot multiply bfloat16. `begin`, `end`: panels of the result's columns; rows [first, last).
    void (*product)(const Product&, int64_t begin, int64_t end, int64_t first, int64_t last);
    void (*pack)(const void* weight, Type, int64_t input_stride, int64_t output_stride, int64_t inputs, int64_t outputs, bf16* packed, int64_t begin, int64_t end);
    void (*unpack)(const bf16* packed, int64_t inputs, int64_t outputs, float* weight, int64_t begin, int64_t end);
    // sums[i] += the sum of column i.
    void (*column_sums)(const void* x, Type, int64_t width, float* sums, int64_t begin, int64_t end);
    // to[column][row] = from[row][column] for rows [begin, end), bfloat16; rows of `to` have `stride` numbers.
    void (*transpose)(const bf16* from, int64_t width, bf16* to, int64_t stride, int64_t begin, int64_t end);
    // p -= step * m / (sqrt(v) / correction + epsilon) with decoupled or plain weight decay, in one pass.
    void (*adam)(float* p, const float* g, float* m, float* v, const double* settings, int64_t begin, int64_t end);
};

// The best set that this processor has, or the one chosen by name.
const Kernels& active();
// "avx512-bf16", "avx512", "avx2", "portable", best first; those that this processor has.
const Kernels* const* available(int* count);
// False when this processor does not have it.
bool select(const std::string& name);

}  // namespace permafrost::kernels

#endif
