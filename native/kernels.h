// What the files of this folder share. Each kernel is compiled once for every instruction set that its source is worth (CMakeLists.txt); dispatch.cpp picks
// the best that the processor has, api.cpp shares the work out. See docs/performance.md.
#ifndef PERMAFROST_KERNELS_INTERNAL_H
#define PERMAFROST_KERNELS_INTERNAL_H

#include <cstdint>
#include <string>
#include <type_traits>

#include "permafrost_kernels.h"

namespace permafrost::kernels {

using bf16 = uint16_t;  // bfloat16: the upper half of a float

// What is computed with: float, or bfloat16 held in memory with float arithmetic.
enum class Type : int64_t { Float = PF_FLOAT32, BFloat16 = PF_BFLOAT16 };
enum class Activation : int64_t {
    None = PF_NONE, GeluTanh = PF_GELU_TANH, GeluErf = PF_GELU, Relu = PF_RELU, Silu = PF_SILU, QuickGelu = PF_QUICK_GELU, Sigmoid = PF_SIGMOID, Tanh = PF_TANH, Mish = PF_MISH,
    Relu6 = PF_RELU6, Gelu10 = PF_GELU_10
};

constexpr int64_t kPanel = PF_PANEL;
constexpr int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }
constexpr int64_t packed_elements(int64_t inputs, int64_t outputs) { return round_up(inputs, 16) * round_up(outputs, 16); }

// What one instruction set offers. Ranges [begin, end) are vectors, elements, panels, or for attention batch * heads
// (backward batch * key_heads), so that callers can share the work out.
struct Kernels {
    const char* name;
    void (*norm_forward)(const pf_norm_forward_args&, int64_t begin, int64_t end);
    // Gradients of weight and bias are added to `partial` (2 x width), which may be null.
    void (*norm_backward)(const pf_norm_backward_args&, float* partial, int64_t begin, int64_t end);
    void (*multiply)(const void* a, const void* b, void* result, Type, int64_t begin, int64_t end);
    void (*add)(const void* a, const void* b, void* result, Type, int64_t begin, int64_t end);
    void (*convert)(const void* x, Type from, void* y, Type to, int64_t begin, int64_t end);
    void (*dropout)(const pf_dropout_args&, int64_t begin, int64_t end);
    // sums[i] = the sum of column i, for columns [begin, end).
    void (*column_sums)(const pf_column_sums_args&, int64_t begin, int64_t end);
    void (*transpose)(const pf_transpose_args&, int64_t begin, int64_t end);
    double (*sum_squares)(const float* x, int64_t begin, int64_t end);
    void (*scale)(float* x, float factor, int64_t begin, int64_t end);
    void (*adam)(float* p, const float* g, float* m, float* v, const double* settings, int64_t begin, int64_t end);
    void (*attention_forward)(const pf_attention_args&, int64_t begin, int64_t end);
    void (*attention_backward)(const pf_attention_args&, int64_t begin, int64_t end);
    // One tap's number for every channel, from taps (heads, taps); and, the other way round, the sums over the channels of each head.
    void (*convolution_spread)(const pf_convolution_args&, const float* taps, int64_t tap, float* row);
    void (*convolution_gather)(const pf_convolution_args&, const float* row, float* sums);
    // Outputs, inputs or outputs [begin, end). `rows` (taps, width): what all outputs share; null where each has its own. Gradients of shared taps are added to `partial`
    // (taps, width), which is null where each output has its own.
    void (*convolution_forward)(const pf_convolution_args&, const float* rows, int64_t begin, int64_t end);
    void (*convolution_inputs)(const pf_convolution_args&, const float* rows, int64_t begin, int64_t end);
    void (*convolution_taps)(const pf_convolution_args&, float* partial, int64_t begin, int64_t end);
    // Panels [begin, end) of the result's columns, rows [first, last).
    void (*matmul)(const pf_matmul_args&, int64_t begin, int64_t end, int64_t first, int64_t last);
    // Columns of one of matmul's panels.
    int64_t matmul_panel;
    // Null where the processor cannot multiply bfloat16.
    void (*product)(const pf_product_args&, int64_t begin, int64_t end, int64_t first, int64_t last);
    void (*pack)(const pf_pack_args&, int64_t begin, int64_t end);
    void (*unpack)(const pf_pack_args&, int64_t begin, int64_t end);
};

// The best set that this processor has, or the one chosen by name.
const Kernels& active();
const Kernels* const* available(int* count);
// False when this processor does not have it.
bool select(const std::string& name);

// pool.cpp: calls run(context, task) for every task, on several threads at once where `work` (float operations, or numbers moved) is worth it.
using Task = void (*)(void* context, int64_t task);
void run_tasks(int64_t tasks, double work, void* context, Task run);
int threads();

template <typename F>
void parallel(int64_t tasks, double work, F&& body) {
    run_tasks(tasks, work, &body, [](void* context, int64_t task) { (*static_cast<std::remove_reference_t<F>*>(context))(task); });
}

}  // namespace permafrost::kernels

#endif
