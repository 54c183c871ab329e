// permafrost::residual_norm: sum = x + dropout(y) and the layer norm of the sum, in one pass each way; permafrost::norm: the norm alone.
#include <torch/library.h>

#include "op.h"

namespace permafrost {

namespace {

kernels::Dropout saved_dropout(AutogradContext* context) {
    return {static_cast<float>(context->saved_data["p"].toDouble()), static_cast<uint64_t>(context->saved_data["seed"].toInt())};
}

// Without y there is no residual, and x itself is what is normalised.
struct ResidualNorm : torch::autograd::Function<ResidualNorm> {
    static variable_list forward(AutogradContext* context, const at::Tensor& x_given, const c10::optional<at::Tensor>& y_given, const at::Tensor& weight_given, const at::Tensor& bias_given, double epsilon, double p, at::ScalarType type) {
        const at::Tensor x = as_type(x_given, at::kFloat), weight = as_type(weight_given, at::kFloat), bias = as_type(bias_given, at::kFloat);
        const bool residual = y_given.has_value();
        const at::Tensor y = residual ? y_given->contiguous() : at::Tensor();
        const int64_t width = x.size(-1), rows = width == 0 ? 0 : x.numel() / width;
        const kernels::Dropout dropout = residual ? draw_dropout(p) : kernels::Dropout{};
        at::Tensor sum = residual ? at::empty_like(x) : x, normed = at::empty(x.sizes(), x.options().dtype(type)), statistics = at::empty({2, rows}, x.options());
        kernels::NormForward call{};
        call.rows = rows;
        call.width = width;
        call.x = x.data_ptr<float>();
        call.y = residual ? y.data_ptr() : nullptr;
        call.y_type = residual ? type_of(y) : kernels::Type::Float;
        call.dropout = dropout;
        call.weight = weight.data_ptr<float>();
        call.bias = bias.data_ptr<float>();
        call.epsilon = static_cast<float>(epsilon);
        call.sum = residual ? sum.data_ptr<float>() : nullptr;
        call.normed = normed.data_ptr();
        call.normed_type = type_of(normed);
        call.mean = statistics.data_ptr<float>();
        call.rstd = call.mean + rows;
        at::parallel_for(0, rows, grain_of(width), [&](int64_t begin, int64_t end) { kernels::active().norm_forward(call, begin, end); });

        context->save_for_backward({sum, statistics, weight});
        context->saved_data["p"] = static_cast<double>(dropout.probability);
        context->saved_data["seed"] = static_cast<int64_t>(dropout.seed);
        context->saved_data["residual"] = residual;
        context->saved_data["x"] = static_cast<int64_t>(x_given.scalar_type());
        context->saved_data["y"] = static_cast<int64_t>(residual ? y.scalar_type() : at::kFloat);
        context->saved_data["affine"] = weight_given.requires_grad() || bias_given.requires_grad();
        context->saved_data["gradient"] = x_given.requires_grad() || (residual && y_given->requires_grad());
        context->set_materialize_grads(false);
        if (!residual) return {normed};
        return {sum, normed};
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const at::Tensor &sum = saved[0], &statistics = saved[1], &weight = saved[2];
        const bool residual = context->saved_data["residual"].toBool(), affine = context->saved_data["affine"].toBool(), gradient = context->saved_data["gradient"].toBool();
        const int64_t width = sum.size(-1), rows = width == 0 ? 0 : sum.numel() / width;
        const at::Tensor d_sum = residual && gradients[0].defined() ? as_type(gradients[0], at::kFloat) : at::Tensor();
        at::Tensor d_normed = gradients.back();
        if (!d_normed.defined()) d_normed = at::zeros(sum.sizes(), sum.options());
        d_normed = as_type(d_normed, d_normed.scalar_type() == at::kBFloat16 ? at::kBFloat16 : at::kFloat);
        at::Tensor dx, dy, partial;
        const int threads = at::get_num_threads();
        if (gradient) dx = at::empty_like(sum);
        if (gradient && residual) dy = at::empty(sum.sizes(), sum.options().dtype(static_cast<at::ScalarType>(context->saved_data["y"].toInt())));
        // A row of sums for each thread; added up in their order, so that the same number of threads gives the same bits.
        if (affine) partial = at::zeros({threads, 2, width}, sum.options());
        kernels::NormBackward call{};
        call.rows = rows;
        call.width = width;
        call.sum = sum.data_ptr<float>();
        call.mean = statistics.data_ptr<float>();
        call.rstd = call.mean + rows;
        call.weight = weight.data_ptr<float>();
        call.d_normed = d_normed.data_ptr();
        call.d_normed_type = type_of(d_normed);
        call.d_sum = d_sum.defined() ? d_sum.data_ptr<float>() : nullptr;
        call.dropout = saved_dropout(context);
        call.dx = gradient ? dx.data_ptr<float>() : nullptr;
        call.dy = dy.defined() ? dy.data_ptr() : nullptr;
        call.dy_type = dy.defined() ? type_of(dy) : kernels::Type::Float;
        const int64_t stretch = (rows + threads - 1) / threads;
        at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
            for (int64_t part = begin; part < end; part++)
                kernels::active().norm_backward(call, affine ? partial.data_ptr<float>() + part * 2 * width : nullptr, std::min(rows, part * stretch), std::min(rows, (part + 1) * stretch));
        });
        at::Tensor d_weight, d_bias;
        if (affine) {
            const at::Tensor total = partial.sum(0);
            d_weight = total[0];
            d_bias = total[1];
        }
        const auto x_type = static_cast<at::ScalarType>(context->saved_data["x"].toInt());
        return {dx.defined() && x_type != at::kFloat ? dx.to(x_type) : dx, dy, d_weight, d_bias, Variable(), Variable(), Variable()};
    }
};

void check(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, at::ScalarType type) {
    TORCH_CHECK(x.dim() >= 1, "a norm wants at least one dimension");
    check_floating(x, "the input");
    check_floating(type);
    const auto check_one = [&](const at::Tensor& tensor, const char* name) {
        TORCH_CHECK(tensor.dim() == 1 && tensor.size(0) == x.size(-1), name, " has the shape ", tensor.sizes(), ", and a row ", x.size(-1), " numbers");
        check_floating(tensor, name);
        check_device(x, tensor, name);
    };
    check_one(weight, "the gain");
    check_one(bias, "the bias");
}

std::tuple<at::Tensor, at::Tensor> residual_norm(const at::Tensor& x, const at::Tensor& y, const at::Tensor& weight, const at::Tensor& bias, double epsilon, double p, at::ScalarType type) {
    TORCH_CHECK(x.sizes() == y.sizes(), "what is added has the shape ", y.sizes(), ", the stream ", x.sizes());
    check(x, weight, bias, type);
    check_floating(y, "what is added");
    check_device(x, y, "what is added");
    if (!has_kernel(x, type) || !has_kernel(y)) {
        const at::Tensor sum = wide(x) + at::dropout(wide(y), p, p > 0);
        return {sum, at::layer_norm(sum, {sum.size(-1)}, weight, bias, epsilon).to(type)};
    }
    const variable_list results = ResidualNorm::apply(x, c10::optional<at::Tensor>(y), weight, bias, epsilon, p, type);
    return {results[0], results[1]};
}

at::Tensor norm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias, double epsilon, at::ScalarType type) {
    check(x, weight, bias, type);
    if (!has_kernel(x, type)) return at::layer_norm(wide(x), {x.size(-1)}, weight, bias, epsilon).to(type);
    return ResidualNorm::apply(x, c10::optional<at::Tensor>(), weight, bias, epsilon, 0.0, type)[0];
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(permafrost, library) {
    library.def("residual_norm(Tensor x, Tensor y, Tensor weight, Tensor bias, float epsilon, float p, ScalarType dtype) -> (Tensor, Tensor)", residual_norm);
    library.def("norm(Tensor x, Tensor weight, Tensor bias, float epsilon, ScalarType dtype) -> Tensor", norm);
}

}  // namespace permafrost
