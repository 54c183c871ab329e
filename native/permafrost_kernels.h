/* The whole contract between C# and the CPU kernels: plain functions over raw memory, no tensors, no libtorch.
 *
 * Every function that computes takes one struct, whose first field is the struct's size, so that a caller of another version is refused. It returns 0, or 1 and
 * pf_last_error() then holds one sentence for this thread. Callers check shapes and types; the kernels check what would write to wrong memory.
 *
 * Batch-invariant: a row's result depends neither on the other rows nor on the number of threads, and sums over rows are taken in a fixed order. */
#ifndef PERMAFROST_KERNELS_H
#define PERMAFROST_KERNELS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PF_API __attribute__((visibility("default")))

/* Raised whenever anything below changes; C# refuses a library with another number. */
#define PF_ABI_VERSION 9

enum { PF_FLOAT32 = 0, PF_BFLOAT16 = 1 };
enum { PF_NONE = 0, PF_GELU_TANH = 1, PF_GELU = 2, PF_RELU = 3, PF_SILU = 4, PF_QUICK_GELU = 5, PF_SIGMOID = 6, PF_TANH = 7, PF_MISH = 8, PF_RELU6 = 9, PF_GELU_10 = 10 };

PF_API int32_t pf_abi_version(void);
PF_API const char* pf_last_error(void);

/* The sets of kernels that this processor runs, best first, separated by spaces: avx512-bf16 avx512 avx2 portable. */
PF_API const char* pf_sets(void);
PF_API const char* pf_set(void);             /* the one in use */
PF_API int pf_select(const char* name);      /* 1 when this processor does not have it */
PF_API int32_t pf_multiplies_bfloat16(void); /* whether the set in use has pf_product, pf_pack and pf_unpack */

/* Threads that one call may use. Small work stays on the calling thread. */
PF_API void pf_threads_set(int32_t threads);

/* Whether an element is dropped is a function of key, row and index within the row. */
typedef struct {
    double probability; /* 0 drops nothing */
    uint64_t key;
    int64_t first_row; /* the first row of the call is this row of its run */
} pf_dropout;

/* sum = x + dropout(y); normed = (sum - mean) * rstd * weight + bias over vectors of `width`. `rows` sequences of `tokens` vectors. y and sum may be null
 * together: then x itself is normalised. Without a bias it is a root mean square norm: the mean counts as 0. */
typedef struct {
    int64_t size;
    int64_t rows, tokens, width;
    const float* x;
    const void* y;
    int64_t y_type;
    pf_dropout dropout;
    const float* weight;
    const float* bias; /* null for a root mean square norm */
    double epsilon;
    float* sum;
    void* normed;
    int64_t normed_type;
    float* mean;
    float* rstd;
} pf_norm_forward_args;
PF_API int pf_norm_forward(const pf_norm_forward_args* args);

/* dx = d_sum + the norm's; dy = dropout's share of dx. Null pointers are not computed. */
typedef struct {
    int64_t size;
    int64_t rows, tokens, width;
    int64_t centred; /* 0 for a root mean square norm */
    const float* sum;
    const float* mean;
    const float* rstd;
    const float* weight;
    const void* d_normed; /* may be null: zeros */
    int64_t d_normed_type;
    const float* d_sum;
    pf_dropout dropout;
    float* dx;
    void* dy;
    int64_t dy_type;
    float* d_weight;
    float* d_bias;
} pf_norm_backward_args;
PF_API int pf_norm_backward(const pf_norm_backward_args* args);

/* softmax(scale q k^T + bias + mask) v, T x S never written. Element (b, t, h, d) of q lies at q[b * q_batch + t * q_token + h * head_size + d]; k, v alike, where
 * heads / key_heads neighbouring heads of q share one of theirs. A query that sees no key gives zeros. */
typedef struct {
    int64_t size;
    int64_t batch, heads, key_heads, queries, keys, head_size;
    const void *q, *k, *v;
    int64_t q_batch, q_token, k_batch, k_token, v_batch, v_token;
    void* out; /* (batch, queries, heads, head_size), contiguous */
    int64_t type;
    double scale;
    int64_t before, after;      /* how many keys before and after its own position a query sees; negative: all */
    const int64_t* positions;   /* (batch, queries): the queries' positions among the keys; null: 0, 1, 2, ... */
    const uint8_t* key_mask;    /* (batch, keys), 0 hides a key; may be null */
    const uint8_t* seen_by_all; /* (batch, keys), not 0: a key that every query sees, wherever it stands; may be null */
    const float* bias;          /* (heads, bias_columns): column bias_zero + position of the query - key; may be null */
    int64_t bias_columns, bias_zero;
    pf_dropout dropout;
    float* log_sum; /* (batch, heads, queries) */
    /* Backward only; gradients have the strides of what they belong to. */
    const void* d_out;
    void *dq, *dk, *dv;
    float* d_bias; /* (batch, heads, bias_columns) */
} pf_attention_args;
PF_API int pf_attention_forward(const pf_attention_args* args);
PF_API int pf_attention_backward(const pf_attention_args* args);

/* Convolution along time, each channel by itself: y[b, t, c] = bias[c] + sum over taps j of w[j, c] x[b, t - left + j * dilation, c], where inputs that are not
 * there, or are hidden, count as 0. A row of taps belongs to width / heads channels: neighbours, or, alternating, channels c with the same c mod heads. */
typedef struct {
    int64_t size;
    int64_t batch, inputs, outputs, width, heads, taps;
    int64_t left, dilation, alternating;
    int64_t each; /* 0: weights are (heads, taps) for all outputs; 1: (batch, outputs, heads, taps) */
    const void* x; /* (batch, inputs, width), contiguous, as all others */
    int64_t type;  /* of x, y and their gradients */
    const float* weights;
    const float* bias;   /* (width); may be null */
    const uint8_t* mask; /* (batch, inputs), 0 hides an input; may be null */
    void* y;             /* (batch, outputs, width) */
    /* Backward only; a null d_x or d_weights is not computed. */
    const void* d_y;
    void* d_x;
    float* d_weights;
} pf_convolution_args;
PF_API int pf_convolution_forward(const pf_convolution_args* args);
PF_API int pf_convolution_backward(const pf_convolution_args* args);

/* bfloat16 products with a packed weight of (inputs x outputs): y = activation(x W + b), or, transposed, y = x W^T. The packed weight may be a run of whole
 * panels of a larger one. */
typedef struct {
    int64_t size;
    int64_t rows, inputs, outputs;
    int64_t transposed;
    const uint16_t* x; /* rows, contiguous */
    const uint16_t* weight;
    const float* bias;
    int64_t activation;
    void* y;
    int64_t y_type;
    uint16_t* slope; /* the activation's derivative, for the gradient; may be null */
} pf_product_args;
PF_API int pf_product(const pf_product_args* args);

/* Elements of a packed weight: panels of PF_PANEL outputs, in each the inputs two by two; zeros fill up to multiples of 16. */
#define PF_PANEL 48
PF_API int64_t pf_packed_elements(int64_t inputs, int64_t outputs);
typedef struct {
    int64_t size;
    int64_t inputs, outputs;
    void* weight; /* element (i, o) at i * input_stride + o * output_stride */
    int64_t type; /* pf_unpack: float32, contiguous */
    int64_t input_stride, output_stride;
    uint16_t* packed;
} pf_pack_args;
PF_API int pf_pack(const pf_pack_args* args);
PF_API int pf_unpack(const pf_pack_args* args);

/* float32: y (rows x columns, contiguous) = activation(a b + bias). Element (i, k) of a lies at i * a_row + k * a_column, (k, j) of b at k * b_row + j * b_column. */
typedef struct {
    int64_t size;
    int64_t rows, inner, columns;
    const float* a;
    int64_t a_row, a_column;
    const float* b;
    int64_t b_row, b_column;
    const float* bias;
    int64_t activation;
    float* y;
    float* slope;
} pf_matmul_args;
PF_API int pf_matmul(const pf_matmul_args* args);

/* Element by element, `count` of them. */
typedef struct {
    int64_t size;
    int64_t count;
    const void* x;
    const void* other; /* pf_multiply: the second factor; pf_add: the second summand */
    void* y;
    int64_t x_type;
    int64_t y_type; /* pf_convert: of y; elsewhere as x */
} pf_elementwise_args;
PF_API int pf_multiply(const pf_elementwise_args* args);
PF_API int pf_add(const pf_elementwise_args* args);
PF_API int pf_convert(const pf_elementwise_args* args);

/* `rows` rows of `width` elements. */
typedef struct {
    int64_t size;
    int64_t rows, width;
    const void* x;
    int64_t type;
    pf_dropout dropout;
    void* y;
} pf_dropout_args;
PF_API int pf_dropout_apply(const pf_dropout_args* args);

/* sums[i] = the sum of column i, row after row. */
typedef struct {
    int64_t size;
    int64_t rows, width;
    const void* x;
    int64_t type;
    float* sums;
} pf_column_sums_args;
PF_API int pf_column_sums(const pf_column_sums_args* args);

/* to[column][row] = from[row][column], bfloat16; rows of `to` have `stride` numbers, those beyond `rows` become 0. */
typedef struct {
    int64_t size;
    int64_t rows, width;
    const uint16_t* from;
    uint16_t* to;
    int64_t stride;
} pf_transpose_args;
PF_API int pf_transpose(const pf_transpose_args* args);

/* Over `count` contiguous float32 tensors: `result` = the sum of all squares, in a fixed order; or every number times `factor`, in place. */
typedef struct {
    int64_t size;
    int64_t count;
    const int64_t* elements;
    float* const* tensors;
    double factor;
    double result;
} pf_list_args;
PF_API int pf_sum_squares(pf_list_args* args);
PF_API int pf_scale(pf_list_args* args);

/* Adam over `count` float32 tensors: one pass over parameter, gradient and both moments. Settings: learning rate / (1 - beta1^t), sqrt(1 - beta2^t), beta1,
 * beta2, epsilon, L2 decay, 1 - rate * decoupled decay, gradient scale. */
typedef struct {
    int64_t size;
    int64_t count;
    const int64_t* elements;
    float* const* parameters;
    const float* const* gradients;
    float* const* first;
    float* const* second;
    double settings[8];
} pf_adam_args;
PF_API int pf_adam(const pf_adam_args* args);

#ifdef __cplusplus
}
#endif

#endif
