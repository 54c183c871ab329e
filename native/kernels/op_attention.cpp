// permafrost::attention and ::self_attention: scaled dot-product attention that keeps its output and one number a query for the gradient.
#include <torch/library.h>
#include <torch/version.h>

#include <cmath>

#include "op.h"

namespace permafrost {

namespace {

struct Settings {
    int64_t heads;
    double scale;
    bool causal;
    at::Tensor positions, key_mask;
};

// q, k, v: (batch, tokens, heads * head size), the last dimension dense.
kernels::Attention describe(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Settings& settings, const at::Tensor& out, const at::Tensor& log_sum, kernels::Dropout dropout) {
    kernels::Attention a{};
    a.batch = q.size(0);
    a.heads = settings.heads;
    a.queries = q.size(1);
    a.keys = k.size(1);
    a.head_size = q.size(2) / settings.heads;
    a.q = q.data_ptr();
    a.k = k.data_ptr();
    a.v = v.data_ptr();
    a.q_batch = q.stride(0);
    a.q_token = q.stride(1);
    a.k_batch = k.stride(0);
    a.k_token = k.stride(1);
    a.v_batch = v.stride(0);
    a.v_token = v.stride(1);
    a.out = out.data_ptr();
    a.type = type_of(q);
    a.scale = static_cast<float>(settings.scale);
    a.causal = settings.causal;
    a.positions = settings.positions.defined() ? settings.positions.data_ptr<int64_t>() : nullptr;
    a.key_mask = settings.key_mask.defined() ? settings.key_mask.data_ptr<uint8_t>() : nullptr;
    a.dropout = dropout;
    a.log_sum = log_sum.data_ptr<float>();
    return a;
}

std::tuple<at::Tensor, at::Tensor> run_forward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Settings& settings, kernels::Dropout dropout) {
    at::Tensor out = at::empty({q.size(0), q.size(1), q.size(2)}, q.options()), log_sum = at::empty({q.size(0), settings.heads, q.size(1)}, q.options().dtype(at::kFloat));
    const kernels::Attention a = describe(q, k, v, settings, out, log_sum, dropout);
    at::parallel_for(0, a.batch * a.heads, 1, [&](int64_t begin, int64_t end) { kernels::active().attention_forward(a, begin, end); });
    return {out, log_sum};
}

void run_backward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Settings& settings, const at::Tensor& out, const at::Tensor& log_sum, kernels::Dropout dropout,
                  const at::Tensor& d_out, const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv) {
    kernels::Attention a = describe(q, k, v, settings, out, log_sum, dropout);
    a.d_out = d_out.data_ptr();
    a.dq = dq.data_ptr();
    a.dk = dk.data_ptr();
    a.dv = dv.data_ptr();
    at::parallel_for(0, a.batch * a.heads, 1, [&](int64_t begin, int64_t end) { kernels::active().attention_backward(a, begin, end); });
}

Settings settings_of(int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask) {
    Settings settings{heads, scale, causal, {}, {}};
    if (positions.has_value() && positions->defined()) settings.positions = positions->contiguous();
    if (key_mask.has_value() && key_mask->defined()) settings.key_mask = key_mask->ne(0).to(at::kByte).contiguous();
    return settings;
}

void save(AutogradContext* context, const Settings& settings, kernels::Dropout dropout) {
    context->saved_data["heads"] = settings.heads;
    context->saved_data["scale"] = settings.scale;
    context->saved_data["causal"] = settings.causal;
    context->saved_data["p"] = static_cast<double>(dropout.probability);
    context->saved_data["seed"] = static_cast<int64_t>(dropout.seed);
}

Settings restore(AutogradContext* context, const at::Tensor& positions, const at::Tensor& key_mask) {
    return {context->saved_data["heads"].toInt(), context->saved_data["scale"].toDouble(), context->saved_data["causal"].toBool(), positions, key_mask};
}

kernels::Dropout restore_dropout(AutogradContext* context) {
    return {static_cast<float>(context->saved_data["p"].toDouble()), static_cast<uint64_t>(context->saved_data["seed"].toInt())};
}

// Queries, keys and values side by side, as one product gives them; their gradients come out side by side too.
struct SelfAttention : torch::autograd::Function<SelfAttention> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& qkv_given, int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask, double p) {
        const at::Tensor qkv = qkv_given.contiguous();
        const int64_t width = qkv.size(2) / 3;
        const Settings settings = settings_of(heads, scale, causal, positions, key_mask);
        const kernels::Dropout dropout = draw_dropout(p);
        auto [out, log_sum] = run_forward(qkv.narrow(2, 0, width), qkv.narrow(2, width, width), qkv.narrow(2, 2 * width, width), settings, dropout);
        context->save_for_backward({qkv, out, log_sum, settings.positions, settings.key_mask});
        save(context, settings, dropout);
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor& qkv = saved[0];
        const int64_t width = qkv.size(2) / 3;
        at::Tensor d_qkv = at::empty_like(qkv);
        const auto part = [width](const at::Tensor& tensor, int64_t i) { return tensor.narrow(2, i * width, width); };
        run_backward(part(qkv, 0), part(qkv, 1), part(qkv, 2), restore(context, saved[3], saved[4]), saved[1], saved[2], restore_dropout(context), as_type(gradients[0], qkv.scalar_type()), part(d_qkv, 0), part(d_qkv, 1), part(d_qkv, 2));
        return {d_qkv, Variable(), Variable(), Variable(), Variable(), Variable(), Variable()};
    }
};

struct CrossAttention : torch::autograd::Function<CrossAttention> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& q_given, const at::Tensor& k_given, const at::Tensor& v_given, int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask, double p) {
        const auto dense = [](const at::Tensor& tensor) { return tensor.stride(2) == 1 ? tensor : tensor.contiguous(); };
        const at::Tensor q = dense(q_given), k = dense(k_given), v = dense(v_given);
        const Settings settings = settings_of(heads, scale, causal, positions, key_mask);
        const kernels::Dropout dropout = draw_dropout(p);
        auto [out, log_sum] = run_forward(q, k, v, settings, dropout);
        context->save_for_backward({q, k, v, out, log_sum, settings.positions, settings.key_mask});
        save(context, settings, dropout);
        return out;
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
        // The kernel writes gradients with the strides of what they belong to; a stride of 0, as expand leaves it, cannot hold them.
        const at::Tensor dense_q = q.contiguous(), dense_k = k.contiguous(), dense_v = v.contiguous();
        at::Tensor dq = at::empty_like(dense_q), dk = at::empty_like(dense_k), dv = at::empty_like(dense_v);
        run_backward(dense_q, dense_k, dense_v, restore(context, saved[5], saved[6]), saved[3], saved[4], restore_dropout(context), as_type(gradients[0], q.scalar_type()), dq, dk, dv);
        return {dq, dk, dv, Variable(), Variable(), Variable(), Variable(), Variable(), Variable()};
    }
};

// (batch, 1, queries, keys), or broadcast to it: which keys a query may see. Undefined where it may see all.
at::Tensor allowed_keys(const at::Tensor& q, int64_t keys, const Settings& settings) {
    const int64_t batch = q.size(0), queries = q.size(1);
    at::Tensor allowed;
    if (settings.causal) {
        const at::Tensor index = at::arange(keys, q.options().dtype(at::kLong));
        allowed = index.le(settings.positions.defined() ? settings.positions.view({batch, 1, queries, 1}) : at::arange(queries, index.options()).view({1, 1, queries, 1}));
    }
    if (settings.key_mask.defined()) {
        const at::Tensor given = settings.key_mask.view({batch, 1, 1, keys}).ne(0);
        allowed = allowed.defined() ? allowed.logical_and(given) : given;
    }
    return allowed;
}

#if TORCH_VERSION_MAJOR >= 2
// libtorch's own kernels, on a GPU. Their scale is 1 / sqrt(size), and what they give for a query that sees no key differs between versions: it is shown all, and gives zeros.
at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Settings& settings, double p) {
    const int64_t batch = q.size(0), queries = q.size(1), keys = k.size(1), size = q.size(2) / settings.heads;
    const auto split = [&](const at::Tensor& tensor) { return tensor.reshape({batch, tensor.size(1), settings.heads, size}).transpose(1, 2); };
    const double factor = settings.scale * std::sqrt(static_cast<double>(size));
    const at::Tensor scaled = std::abs(factor - 1) < 1e-9 ? q : q * factor;
    const auto join = [&](const at::Tensor& heads) { return heads.transpose(1, 2).reshape({batch, queries, q.size(2)}); };
    const bool plain = settings.causal && queries == keys && !settings.positions.defined() && !settings.key_mask.defined();
    at::Tensor allowed = plain ? at::Tensor() : allowed_keys(q, keys, settings);
    if (!allowed.defined()) return join(at::scaled_dot_product_attention(split(scaled), split(k), split(v), {}, p, plain));
    const at::Tensor blind = allowed.any(-1, true).logical_not();
    allowed = allowed.logical_or(blind).expand({batch, 1, queries, keys});
    return join(at::scaled_dot_product_attention(split(scaled), split(k), split(v), allowed, p, false).masked_fill(blind, 0));
}
#endif

at::Tensor composed(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, const Settings& settings, double p) {
#if TORCH_VERSION_MAJOR >= 2
    if (!q.is_cpu()) return library_attention(q, k, v, settings, p);
#endif
    const int64_t batch = q.size(0), queries = q.size(1), size = q.size(2) / settings.heads;
    const auto split = [&](const at::Tensor& tensor) { return tensor.reshape({batch, tensor.size(1), settings.heads, size}).transpose(1, 2); };
    at::Tensor scores = wide(at::matmul(split(q), split(k).transpose(2, 3))) * settings.scale;
    const at::Tensor allowed = allowed_keys(q, k.size(1), settings);
    if (allowed.defined()) scores = scores.masked_fill(allowed.logical_not(), -std::numeric_limits<float>::infinity());
    // A query that sees no key gives zeros.
    const at::Tensor blind = scores.detach().amax(-1, true).isinf();
    const at::Tensor probabilities = at::softmax(scores.masked_fill(blind, 0), -1).masked_fill(blind, 0);
    return at::matmul(at::dropout(probabilities, p, p > 0).to(v.scalar_type()), split(v)).transpose(1, 2).reshape({batch, queries, settings.heads * size});
}

void check(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask) {
    TORCH_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3 && k.sizes() == v.sizes() && q.size(0) == k.size(0) && q.size(2) == k.size(2), "queries ", q.sizes(), ", keys ", k.sizes(), " and values ", v.sizes(), " do not belong together");
    check_floating(q, "attention's input");
    TORCH_CHECK(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(), "queries are ", q.scalar_type(), ", keys ", k.scalar_type(), " and values ", v.scalar_type());
    check_device(q, k, "the key");
    check_device(q, v, "the value");
    TORCH_CHECK(heads > 0 && q.size(2) % heads == 0, q.size(2), " numbers cannot be shared by ", heads, " heads");
    if (positions.has_value() && positions->defined()) {
        TORCH_CHECK(positions->scalar_type() == at::kLong && positions->dim() == 2 && positions->size(0) == q.size(0) && positions->size(1) == q.size(1), "positions must be int64 and (batch, queries), not ", positions->scalar_type(), " ", positions->sizes());
        check_device(q, *positions, "positions");
        // Not on other devices, which would have to be waited for.
        if (positions->is_cpu() && positions->numel() > 0) {
            const int64_t low = positions->min().item<int64_t>(), high = positions->max().item<int64_t>();
            TORCH_CHECK(low >= 0 && high < k.size(1), "positions from ", low, " to ", high, " are not all among the ", k.size(1), " keys");
        }
    }
    if (key_mask.has_value() && key_mask->defined()) {
        TORCH_CHECK(key_mask->dim() == 2 && key_mask->size(0) == k.size(0) && key_mask->size(1) == k.size(1), "the key mask must be (batch, keys), not ", key_mask->sizes());
        check_device(q, *key_mask, "the key mask");
    }
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask, double p) {
    check(q, k, v, heads, positions, key_mask);
    if (has_kernel(q)) return CrossAttention::apply(q, k, v, heads, scale, causal, positions, key_mask, p);
    return composed(q, k, v, settings_of(heads, scale, causal, positions, key_mask), p);
}

at::Tensor self_attention(const at::Tensor& qkv, int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask, double p) {
    TORCH_CHECK(qkv.dim() == 3 && qkv.size(2) % 3 == 0, "self_attention wants (batch, tokens, 3 * width), not ", qkv.sizes());
    const int64_t width = qkv.size(2) / 3;
    const at::Tensor q = qkv.narrow(2, 0, width), k = qkv.narrow(2, width, width), v = qkv.narrow(2, 2 * width, width);
    check(q, k, v, heads, positions, key_mask);
    if (has_kernel(qkv)) return SelfAttention::apply(qkv, heads, scale, causal, positions, key_mask, p);
    return composed(q, k, v, settings_of(heads, scale, causal, positions, key_mask), p);
}

#if TORCH_VERSION_MAJOR >= 2
// What `attention` is on a GPU, anywhere: for tests on machines without one.
at::Tensor library_attention_anywhere(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v, int64_t heads, double scale, bool causal, const c10::optional<at::Tensor>& positions, const c10::optional<at::Tensor>& key_mask, double p) {
    check(q, k, v, heads, positions, key_mask);
    return library_attention(q, k, v, settings_of(heads, scale, causal, positions, key_mask), p);
}
#endif

}  // namespace

TORCH_LIBRARY_FRAGMENT(permafrost, library) {
    library.def("attention(Tensor q, Tensor k, Tensor v, int heads, float scale, bool causal, Tensor? positions=None, Tensor? key_mask=None, float p=0.0) -> Tensor", attention);
#if TORCH_VERSION_MAJOR >= 2
    library.def("library_attention(Tensor q, Tensor k, Tensor v, int heads, float scale, bool causal, Tensor? positions=None, Tensor? key_mask=None, float p=0.0) -> Tensor", library_attention_anywhere);
#endif
    library.def("self_attention(Tensor qkv, int heads, float scale, bool causal, Tensor? positions=None, Tensor? key_mask=None, float p=0.0) -> Tensor", self_attention);
}

}  // namespace permafrost
