// The C functions: they check what would write to wrong memory, and share the work out over threads in pieces whose size depends on the work alone.
#include <algorithm>
#include <exception>
#include <memory>
#include <new>
#include <vector>

#include "kernels.h"

namespace permafrost::kernels {

namespace {

thread_local std::string last_error;

int fail(const std::string& message) {
    last_error = message;
    return 1;
}

template <typename Args, typename Body>
int guarded(const Args* args, const char* name, Body&& body) {
    if (args == nullptr || args->size != static_cast<int64_t>(sizeof(Args))) return fail(std::string(name) + ": the caller's arguments have another layout than this library's");
    try {
        return body(*args);
    } catch (const std::bad_alloc&) {
        return fail(std::string(name) + ": out of memory");
    } catch (const std::exception& error) {
        return fail(std::string(name) + ": " + error.what());
    }
}

constexpr int64_t ceiling(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }

// Pieces of a range of `count` that are `size` long; the last may be shorter.
template <typename F>
void pieces(int64_t count, int64_t size, double work, F&& body) {
    parallel(ceiling(count, size), work, [&](int64_t piece) { body(piece * size, std::min(count, (piece + 1) * size)); });
}

int64_t vectors_of(int64_t width) { return std::max<int64_t>(1, 8192 / std::max<int64_t>(1, width)); }

bool is_type(int64_t type) { return type == PF_FLOAT32 || type == PF_BFLOAT16; }
bool is_activation(int64_t activation) { return activation >= PF_NONE && activation <= PF_GELU_10; }

constexpr int64_t kElements = 16384;
// Tokens whose share of a norm's gradients is one sum; the sums are added up in order, first within a sequence, so that neither threads nor padding behind its end play a part.
constexpr int64_t kTokens = 32;

void norm_backward(const pf_norm_backward_args& a) {
    const int64_t per_row = ceiling(a.tokens, kTokens), chunks = a.rows * per_row, width = a.width;
    const bool affine = a.d_weight != nullptr || a.d_bias != nullptr;
    std::unique_ptr<float[]> partial(affine ? new float[chunks * 2 * width]() : nullptr);
    parallel(chunks, 8.0 * a.rows * a.tokens * width, [&](int64_t chunk) {
        const int64_t first = chunk / per_row * a.tokens + chunk % per_row * kTokens, last = std::min(first + kTokens, (chunk / per_row + 1) * a.tokens);
        active().norm_backward(a, affine ? partial.get() + chunk * 2 * width : nullptr, first, last);
    });
    if (!affine) return;
    const pf_column_sums_args sums{sizeof sums, chunks, 2 * width, partial.get(), PF_FLOAT32, nullptr};
    std::unique_ptr<float[]> total(new float[2 * width]);
    pf_column_sums_args call = sums;
    call.sums = total.get();
    pieces(2 * width, 256, static_cast<double>(chunks * 2 * width), [&](int64_t begin, int64_t end) { active().column_sums(call, begin, end); });
    if (a.d_weight != nullptr) std::copy(total.get(), total.get() + width, a.d_weight);
    if (a.d_bias != nullptr) std::copy(total.get() + width, total.get() + 2 * width, a.d_bias);
}

// A stretch of one of several tensors, so that many small ones and few large ones go over the threads alike.
struct Stretch {
    int64_t tensor, begin, end;
};

std::vector<Stretch> stretches_of(int64_t count, const int64_t* elements) {
    std::vector<Stretch> stretches;
    for (int64_t i = 0; i < count; i++)
        for (int64_t begin = 0; begin < elements[i]; begin += 4 * kElements) stretches.push_back({i, begin, std::min(elements[i], begin + 4 * kElements)});
    return stretches;
}

double work_of(int64_t count, const int64_t* elements) {
    double work = 0;
    for (int64_t i = 0; i < count; i++) work += static_cast<double>(elements[i]);
    return work;
}

// Heads of sequences: a few at a time, since each call has scratch memory to clear.
template <typename F>
void heads_of(const pf_attention_args& a, int64_t heads, double work, F&& body) {
    const int64_t items = a.batch * heads;
    pieces(items, std::max<int64_t>(1, items / (4 * threads())), work * a.batch * a.heads * a.queries * a.keys * a.head_size, body);
}

bool shares_heads(const pf_attention_args& a) { return a.key_heads > 0 && a.heads % a.key_heads == 0; }

bool fits(const pf_convolution_args& a) {
    return is_type(a.type) && a.batch > 0 && a.inputs > 0 && a.outputs > 0 && a.taps > 0 && a.heads > 0 && a.width > 0 && a.width % a.heads == 0;
}

double convolution_work(const pf_convolution_args& a) { return 2.0 * a.batch * a.outputs * a.width * a.taps; }

// (taps, width); null where each output has taps of its own.
std::unique_ptr<float[]> shared_taps(const pf_convolution_args& a) {
    if (a.each != 0) return nullptr;
    std::unique_ptr<float[]> rows(new float[a.taps * a.width]);
    for (int64_t tap = 0; tap < a.taps; tap++) active().convolution_spread(a, a.weights, tap, rows.get() + tap * a.width);
    return rows;
}

// Outputs whose share of the taps' gradient is one sum; the sums are added up in order, first within a sequence.
constexpr int64_t kOutputs = 128;

void taps_gradient(const pf_convolution_args& a) {
    if (a.each != 0) {
        pieces(a.batch * a.outputs, kTokens, convolution_work(a), [&](int64_t begin, int64_t end) { active().convolution_taps(a, nullptr, begin, end); });
        return;
    }
    const int64_t per_row = ceiling(a.outputs, kOutputs), chunks = a.batch * per_row, width = a.taps * a.width;
    const std::unique_ptr<float[]> partial(new float[chunks * width]()), total(new float[width + a.heads]);
    parallel(chunks, convolution_work(a), [&](int64_t chunk) {
        const int64_t first = chunk / per_row * a.outputs + chunk % per_row * kOutputs;
        active().convolution_taps(a, partial.get() + chunk * width, first, std::min(first + kOutputs, (chunk / per_row + 1) * a.outputs));
    });
    const pf_column_sums_args sums{sizeof sums, chunks, width, partial.get(), PF_FLOAT32, total.get()};
    pieces(width, 256, static_cast<double>(chunks * width), [&](int64_t begin, int64_t end) { active().column_sums(sums, begin, end); });
    float* heads = total.get() + width;
    for (int64_t tap = 0; tap < a.taps; tap++) {
        active().convolution_gather(a, total.get() + tap * a.width, heads);
        for (int64_t h = 0; h < a.heads; h++) a.d_weights[h * a.taps + tap] = heads[h];
    }
}

// Panels of columns are shared out, and rows too where there are fewer panels than threads.
template <typename F>
void products(int64_t panels, int64_t rows, double work, F&& body) {
    const int64_t wanted = threads() > 1 && panels < 2 * threads() ? ceiling(2 * threads(), std::max<int64_t>(1, panels)) : 1;
    const int64_t stretch = std::max<int64_t>(8, round_up(ceiling(rows, wanted), 8)), splits = ceiling(rows, stretch);
    parallel(panels * splits, work, [&](int64_t task) { body(task % panels, task % panels + 1, task / panels * stretch, std::min(rows, (task / panels + 1) * stretch)); });
}

}  // namespace

}  // namespace permafrost::kernels

using namespace permafrost::kernels;

int32_t pf_abi_version(void) { return PF_ABI_VERSION; }
const char* pf_last_error(void) { return last_error.c_str(); }

const char* pf_sets(void) {
    static const std::string names = [] {
        int count = 0;
        const Kernels* const* list = available(&count);
        std::string text;
        for (int i = 0; i < count; i++) text += (i > 0 ? " " : "") + std::string(list[i]->name);
        return text;
    }();
    return names.c_str();
}

const char* pf_set(void) { return active().name; }
int pf_select(const char* name) { return select(name) ? 0 : fail(std::string("this processor does not run the kernels '") + name + "'"); }
int32_t pf_multiplies_bfloat16(void) { return active().product != nullptr; }
int64_t pf_packed_elements(int64_t inputs, int64_t outputs) { return packed_elements(inputs, outputs); }

int pf_norm_forward(const pf_norm_forward_args* args) {
    return guarded(args, "norm", [](const pf_norm_forward_args& a) {
        if (!is_type(a.y_type) || !is_type(a.normed_type) || (a.y != nullptr) != (a.sum != nullptr)) return fail("norm: types or pointers that do not belong together");
        const int64_t vectors = a.rows * a.tokens;
        pieces(vectors, vectors_of(a.width), 6.0 * vectors * a.width, [&](int64_t begin, int64_t end) { active().norm_forward(a, begin, end); });
        return 0;
    });
}

int pf_norm_backward(const pf_norm_backward_args* args) {
    return guarded(args, "norm's gradient", [](const pf_norm_backward_args& a) {
        if (!is_type(a.d_normed_type) || !is_type(a.dy_type) || (a.dy != nullptr && a.dx == nullptr)) return fail("norm's gradient: types or pointers that do not belong together");
        norm_backward(a);
        return 0;
    });
}

int pf_attention_forward(const pf_attention_args* args) {
    return guarded(args, "attention", [](const pf_attention_args& a) {
        if (!is_type(a.type) || !shares_heads(a)) return fail("attention: an unknown type, or heads that do not share");
        heads_of(a, a.heads, 4.0, [&](int64_t begin, int64_t end) { active().attention_forward(a, begin, end); });
        return 0;
    });
}

int pf_attention_backward(const pf_attention_args* args) {
    return guarded(args, "attention's gradient", [](const pf_attention_args& a) {
        if (!is_type(a.type) || !shares_heads(a)) return fail("attention's gradient: an unknown type, or heads that do not share");
        heads_of(a, a.key_heads, 10.0, [&](int64_t begin, int64_t end) { active().attention_backward(a, begin, end); });
        return 0;
    });
}

int pf_convolution_forward(const pf_convolution_args* args) {
    return guarded(args, "convolution", [](const pf_convolution_args& a) {
        if (!fits(a)) return fail("convolution: an unknown type, or sizes that do not belong together");
        const std::unique_ptr<float[]> rows = shared_taps(a);
        pieces(a.batch * a.outputs, kTokens, convolution_work(a), [&](int64_t begin, int64_t end) { active().convolution_forward(a, rows.get(), begin, end); });
        return 0;
    });
}

int pf_convolution_backward(const pf_convolution_args* args) {
    return guarded(args, "convolution's gradient", [](const pf_convolution_args& a) {
        if (!fits(a)) return fail("convolution's gradient: an unknown type, or sizes that do not belong together");
        if (a.d_x != nullptr) {
            const std::unique_ptr<float[]> rows = shared_taps(a);
            pieces(a.batch * a.inputs, kTokens, convolution_work(a), [&](int64_t begin, int64_t end) { active().convolution_inputs(a, rows.get(), begin, end); });
        }
        if (a.d_weights != nullptr) taps_gradient(a);
        return 0;
    });
}

int pf_product(const pf_product_args* args) {
    return guarded(args, "product", [](const pf_product_args& a) {
        if (active().product == nullptr) return fail("packed weights need a processor that multiplies bfloat16");
        if ((a.transposed ? a.outputs : a.inputs) % 2 != 0) return fail("product: an odd number of numbers to multiply; the caller pads it");
        if (!is_type(a.y_type) || !is_activation(a.activation)) return fail("product: an unknown type or activation");
        const int64_t panels = ceiling(a.transposed ? a.inputs : a.outputs, kPanel);
        // The numbers of a bfloat16 product are done four times as fast as others.
        products(panels, a.rows, 0.5 * a.rows * a.inputs * a.outputs,
                 [&](int64_t begin, int64_t end, int64_t first, int64_t last) { active().product(a, begin, end, first, last); });
        return 0;
    });
}

int pf_pack(const pf_pack_args* args) {
    return guarded(args, "pack", [](const pf_pack_args& a) {
        if (active().pack == nullptr) return fail("packing weights needs a processor that multiplies bfloat16");
        if (!is_type(a.type)) return fail("pack: an unknown type");
        parallel(ceiling(a.outputs, kPanel), static_cast<double>(a.inputs * a.outputs), [&](int64_t panel) { active().pack(a, panel, panel + 1); });
        return 0;
    });
}

int pf_unpack(const pf_pack_args* args) {
    return guarded(args, "unpack", [](const pf_pack_args& a) {
        if (active().unpack == nullptr) return fail("this processor has no bfloat16 products, so it has packed no weights");
        parallel(ceiling(a.outputs, kPanel), static_cast<double>(a.inputs * a.outputs), [&](int64_t panel) { active().unpack(a, panel, panel + 1); });
        return 0;
    });
}

int pf_matmul(const pf_matmul_args* args) {
    return guarded(args, "matmul", [](const pf_matmul_args& a) {
        if (!is_activation(a.activation)) return fail("matmul: an unknown activation");
        products(ceiling(a.columns, active().matmul_panel), a.rows, 2.0 * a.rows * a.inner * a.columns,
                 [&](int64_t begin, int64_t end, int64_t first, int64_t last) { active().matmul(a, begin, end, first, last); });
        return 0;
    });
}

int pf_multiply(const pf_elementwise_args* args) {
    return guarded(args, "multiply", [](const pf_elementwise_args& a) {
        pieces(a.count, kElements, static_cast<double>(a.count), [&](int64_t begin, int64_t end) {
            active().multiply(a.x, a.other, a.y, static_cast<Type>(a.x_type), begin, end);
        });
        return 0;
    });
}

int pf_add(const pf_elementwise_args* args) {
    return guarded(args, "add", [](const pf_elementwise_args& a) {
        pieces(a.count, kElements, static_cast<double>(a.count), [&](int64_t begin, int64_t end) { active().add(a.x, a.other, a.y, static_cast<Type>(a.x_type), begin, end); });
        return 0;
    });
}

int pf_convert(const pf_elementwise_args* args) {
    return guarded(args, "convert", [](const pf_elementwise_args& a) {
        pieces(a.count, kElements, static_cast<double>(a.count), [&](int64_t begin, int64_t end) {
            active().convert(a.x, static_cast<Type>(a.x_type), a.y, static_cast<Type>(a.y_type), begin, end);
        });
        return 0;
    });
}

int pf_dropout_apply(const pf_dropout_args* args) {
    return guarded(args, "dropout", [](const pf_dropout_args& a) {
        if (!is_type(a.type)) return fail("dropout: an unknown type");
        pieces(a.rows * a.width, kElements, 4.0 * a.rows * a.width, [&](int64_t begin, int64_t end) { active().dropout(a, begin, end); });
        return 0;
    });
}

int pf_column_sums(const pf_column_sums_args* args) {
    return guarded(args, "column sums", [](const pf_column_sums_args& a) {
        if (!is_type(a.type)) return fail("column sums: an unknown type");
        pieces(a.width, 256, static_cast<double>(a.rows * a.width), [&](int64_t begin, int64_t end) { active().column_sums(a, begin, end); });
        return 0;
    });
}

int pf_transpose(const pf_transpose_args* args) {
    return guarded(args, "transpose", [](const pf_transpose_args& a) {
        if (a.stride < a.rows) return fail("transpose: a row of the result is too short");
        pieces(a.width, 64, static_cast<double>(a.rows * a.width), [&](int64_t begin, int64_t end) { active().transpose(a, begin, end); });
        return 0;
    });
}

int pf_sum_squares(pf_list_args* args) {
    return guarded(args, "sum of squares", [args](const pf_list_args& a) {
        const std::vector<Stretch> stretches = stretches_of(a.count, a.elements);
        std::vector<double> sums(stretches.size());
        parallel(static_cast<int64_t>(stretches.size()), work_of(a.count, a.elements), [&](int64_t task) {
            const Stretch& s = stretches[task];
            sums[task] = active().sum_squares(a.tensors[s.tensor], s.begin, s.end);
        });
        double total = 0;
        for (const double sum : sums) total += sum;
        args->result = total;
        return 0;
    });
}

int pf_scale(pf_list_args* args) {
    return guarded(args, "scale", [](const pf_list_args& a) {
        const std::vector<Stretch> stretches = stretches_of(a.count, a.elements);
        parallel(static_cast<int64_t>(stretches.size()), work_of(a.count, a.elements), [&](int64_t task) {
            const Stretch& s = stretches[task];
            active().scale(a.tensors[s.tensor], static_cast<float>(a.factor), s.begin, s.end);
        });
        return 0;
    });
}

int pf_adam(const pf_adam_args* args) {
    return guarded(args, "adam", [](const pf_adam_args& a) {
        const std::vector<Stretch> stretches = stretches_of(a.count, a.elements);
        parallel(static_cast<int64_t>(stretches.size()), 8 * work_of(a.count, a.elements), [&](int64_t task) {
            const Stretch& s = stretches[task];
            active().adam(a.parameters[s.tensor], a.gradients[s.tensor], a.first[s.tensor], a.second[s.tensor], a.settings, s.begin, s.end);
        });
        return 0;
    });
}
