// permafrost::dropout, ::adam_ and the choice of kernels; and what op.h declares.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/library.h>

#include <atomic>
#include <cmath>

#include "op.h"

namespace permafrost {

namespace {
std::atomic<bool> composing{false};
}

void compose_always(bool value) { composing = value; }

bool has_kernel(const at::Tensor& tensor) { return !composing && tensor.is_cpu() && (tensor.scalar_type() == at::kFloat || tensor.scalar_type() == at::kBFloat16); }

at::Tensor as_type(const at::Tensor& tensor, at::ScalarType type) {
    const at::Tensor dense = tensor.contiguous();
    if (dense.scalar_type() == type) return dense;
    if (!has_kernel(dense)) return dense.to(type);
    at::Tensor result = at::empty(dense.sizes(), dense.options().dtype(type));
    at::parallel_for(0, dense.numel(), 16384, [&](int64_t begin, int64_t end) { kernels::active().convert(dense.data_ptr(), type_of(dense), result.data_ptr(), type_of(result), begin, end); });
    return result;
}

kernels::Dropout draw_dropout(double probability) {
    TORCH_CHECK(probability >= 0 && static_cast<float>(probability) < 1, "a dropout probability must be at least 0 and below 1, not ", probability);
    if (probability == 0) return {};
    at::Generator generator = at::globalContext().defaultGenerator(at::kCPU);
    auto* source = at::get_generator_or_default<at::CPUGeneratorImpl>(generator, generator);
    const std::lock_guard<std::mutex> lock(source->mutex_);
    return {static_cast<float>(probability), source->random64()};
}

kernels::Activation activation_of(const std::string& name) {
    if (name == "none") return kernels::Activation::None;
    if (name == "gelu_tanh") return kernels::Activation::GeluTanh;
    if (name == "gelu") return kernels::Activation::GeluErf;
    TORCH_CHECK(name == "relu", "the activation '", name, "' is none of none, gelu_tanh, gelu, relu");
    return kernels::Activation::Relu;
}

at::Tensor activate(const at::Tensor& x, kernels::Activation activation) {
    switch (activation) {
        case kernels::Activation::GeluTanh: return at::gelu(x, "tanh");
        case kernels::Activation::GeluErf: return at::gelu(x);
        case kernels::Activation::Relu: return at::relu(x);
        default: return x;
    }
}

namespace {

struct DropoutFunction : torch::autograd::Function<DropoutFunction> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, double p) {
        const kernels::Dropout settings = draw_dropout(p);
        context->saved_data["p"] = p;
        context->saved_data["seed"] = static_cast<int64_t>(settings.seed);
        return run(x.contiguous(), settings);
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        return {run(gradients[0].contiguous(), {static_cast<float>(context->saved_data["p"].toDouble()), static_cast<uint64_t>(context->saved_data["seed"].toInt())}), Variable()};
    }

    static at::Tensor run(const at::Tensor& x, kernels::Dropout settings) {
        at::Tensor y = at::empty_like(x);
        // Stretches begin at multiples of the kernel's own, so that every element keeps its index whatever the threads.
        constexpr int64_t kStretch = 16384;
        at::parallel_for(0, (x.numel() + kStretch - 1) / kStretch, 1, [&](int64_t begin, int64_t end) {
            kernels::active().dropout(x.data_ptr(), y.data_ptr(), type_of(x), settings, begin * kStretch, std::min(x.numel(), end * kStretch));
        });
        return y;
    }
};

at::Tensor dropout(const at::Tensor& x, double p) {
    check_floating(x, "the input");
    if (p == 0) return x;
    return has_kernel(x) ? DropoutFunction::apply(x, p) : at::dropout(x, p, true);
}

void adam(at::TensorList parameters, at::TensorList gradients, at::TensorList first, at::TensorList second, at::ArrayRef<double> settings) {
    TORCH_CHECK(settings.size() == 8 && parameters.size() == gradients.size() && parameters.size() == first.size() && parameters.size() == second.size(), "adam_ wants lists of one length and 8 settings");
    for (size_t i = 0; i < parameters.size(); i++) {
        for (const at::Tensor& tensor : {gradients[i], first[i], second[i]}) check_device(parameters[i], tensor, "a gradient or moment");
        TORCH_CHECK(first[i].scalar_type() == at::kFloat && second[i].scalar_type() == at::kFloat, "adam_ wants float32 moments");
        const at::Tensor &p = parameters[i], g = as_type(gradients[i], at::kFloat), &m = first[i], &v = second[i];
        TORCH_CHECK(p.is_cpu() && p.scalar_type() == at::kFloat && p.is_contiguous() && m.is_contiguous() && v.is_contiguous() && p.numel() == g.numel() && p.numel() == m.numel() && p.numel() == v.numel(), "adam_ wants contiguous float32 tensors on the CPU");
        at::parallel_for(0, p.numel(), 16384, [&](int64_t begin, int64_t end) { kernels::active().adam(p.data_ptr<float>(), g.data_ptr<float>(), m.data_ptr<float>(), v.data_ptr<float>(), settings.data(), begin, end); });
    }
}

std::string kernels_in_use() { return composing ? "composed" : kernels::active().name; }

std::string kernels_available() {
    int count = 0;
    const kernels::Kernels* const* list = kernels::available(&count);
    std::string names;
    for (int i = 0; i < count; i++) names += std::string(list[i]->name) + " ";
    return names + "composed";
}

// "composed": operators of libtorch instead of kernels, to compare with.
bool kernels_select(c10::string_view name) {
    if (name == "composed") {
        compose_always(true);
        return true;
    }
    if (!kernels::select(std::string(name))) return false;
    compose_always(false);
    return true;
}

bool multiplies_bfloat16() { return kernels::active().product != nullptr; }

}  // namespace

TORCH_LIBRARY_FRAGMENT(permafrost, library) {
    library.def("dropout(Tensor x, float p) -> Tensor", dropout);
    library.def("adam_(Tensor(a!)[] parameters, Tensor[] gradients, Tensor(b!)[] first, Tensor(c!)[] second, float[] settings) -> ()", adam);
    library.def("kernels() -> str", kernels_in_use);
    library.def("kernels_available() -> str", kernels_available);
    library.def("kernels_select(str name) -> bool", kernels_select);
    library.def("multiplies_bfloat16() -> bool", multiplies_bfloat16);
}

}  // namespace permafrost
