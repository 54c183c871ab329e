// permafrost::linear: activation(x W + b) with a frozen bfloat16 weight in packed form, or any float32 weight. Keeps for the gradient only what a
// trained parameter needs: nothing for a frozen map, the derivative for an activation, x where W itself trains.
#include <torch/library.h>

#include "op.h"

namespace permafrost {

namespace {

void run_product(const kernels::Product& product) {
    const kernels::Kernels& set = kernels::active();
    TORCH_CHECK(set.product != nullptr, "packed weights need a processor that multiplies bfloat16, and the kernels '", set.name, "' do not");
    const int64_t width = product.transposed ? product.inputs : product.outputs;
    const int64_t panels = (width + kernels::kPanel - 1) / kernels::kPanel;
    const int64_t work = product.rows * product.inputs * product.outputs;
    // Fewer panels than threads: rows are shared out too.
    const int64_t threads = work < 200000 ? 1 : at::get_num_threads();
    const int64_t splits = panels >= threads ? 1 : std::min((threads + panels - 1) / panels, (product.rows + 7) / 8);
    const int64_t stretch = (product.rows + splits - 1) / splits;
    if (threads == 1) return set.product(product, 0, panels, 0, product.rows);
    at::parallel_for(0, panels * splits, 1, [&](int64_t begin, int64_t end) {
        if (splits == 1) return set.product(product, begin, end, 0, product.rows);
        for (int64_t task = begin; task < end; task++)
            set.product(product, task % panels, task % panels + 1, task / panels * stretch, std::min(product.rows, (task / panels + 1) * stretch));
    });
}

// An odd number of inputs would end in half a pair.
at::Tensor even(const at::Tensor& x) { return x.size(1) % 2 == 0 ? x : at::constant_pad_nd(x, {0, 1}); }

// x (rows, inputs) bfloat16 by a packed weight; y of `type`, and the derivative where wanted.
at::Tensor packed_product(const at::Tensor& x, const at::Tensor& weight, const float* bias, int64_t inputs, int64_t outputs, bool transposed, kernels::Activation activation, at::ScalarType type, at::Tensor* slope) {
    const int64_t rows = x.size(0);
    at::Tensor y = at::empty({rows, transposed ? inputs : outputs}, x.options().dtype(type));
    if (slope != nullptr) *slope = at::empty({rows, outputs}, x.options());
    if (rows == 0) return y;
    const at::Tensor padded = even(x);
    kernels::Product product{};
    product.rows = rows;
    product.inputs = inputs + (transposed ? 0 : inputs % 2);
    product.outputs = outputs + (transposed ? outputs % 2 : 0);
    product.transposed = transposed;
    product.x = bf16_data(padded);
    product.weight = bf16_data(weight);
    product.bias = bias;
    product.activation = activation;
    product.y = y.data_ptr();
    product.y_type = type_of(y);
    product.slope = slope == nullptr ? nullptr : bf16_data(*slope);
    run_product(product);
    return y;
}

// A (inputs, outputs) matrix of float32 or bfloat16 in packed order.
at::Tensor packed(const at::Tensor& matrix) {
    TORCH_CHECK(kernels::active().pack != nullptr, "packing weights needs a processor that multiplies bfloat16, and the kernels '", kernels::active().name, "' do not");
    const int64_t inputs = matrix.size(0), outputs = matrix.size(1);
    at::Tensor result = at::empty({kernels::packed_elements(inputs, outputs)}, matrix.options().dtype(at::kBFloat16).requires_grad(false));
    const int64_t panels = (kernels::round_up(outputs, 16) + kernels::kPanel - 1) / kernels::kPanel;
    at::parallel_for(0, panels, inputs * outputs < 16384 ? panels : 1, [&](int64_t begin, int64_t end) {
        kernels::active().pack(matrix.data_ptr(), type_of(matrix), matrix.stride(0), matrix.stride(1), inputs, outputs, bf16_data(result), begin, end);
    });
    return result;
}

// The sums of a matrix's columns; a row of sums for each thread, added up in their order.
at::Tensor column_sums(const at::Tensor& x) {
    const int64_t rows = x.size(0), width = x.size(1), threads = at::get_num_threads(), stretch = (rows + threads - 1) / threads;
    at::Tensor partial = at::zeros({threads, width}, x.options().dtype(at::kFloat));
    at::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
        for (int64_t part = begin; part < end; part++)
            kernels::active().column_sums(x.data_ptr(), type_of(x), width, partial.data_ptr<float>() + part * width, std::min(rows, part * stretch), std::min(rows, (part + 1) * stretch));
    });
    return partial.sum(0);
}

// x^T dy, the gradient of a weight, with float32 sums: the same product, whose rows are x's columns and whose weight is dy.
at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& dy) {
    const int64_t rows = x.size(0), inputs = x.size(1), stride = rows + rows % 2;
    at::Tensor columns = at::empty({inputs, stride}, x.options());
    if (stride > rows) columns.narrow(1, rows, 1).zero_();
    at::parallel_for(0, (rows + 31) / 32, 4, [&](int64_t begin, int64_t end) {
        kernels::active().transpose(bf16_data(x), inputs, bf16_data(columns), stride, begin * 32, std::min(rows, end * 32));
    });
    return packed_product(columns, packed(dy), nullptr, stride, dy.size(1), false, kernels::Activation::None, at::kFloat, nullptr);
}

at::Tensor times(const at::Tensor& a, const at::Tensor& b) {
    at::Tensor result = at::empty_like(a);
    const kernels::Type type = type_of(a);
    at::parallel_for(0, a.numel(), 16384, [&](int64_t begin, int64_t end) { kernels::active().multiply(a.data_ptr(), b.data_ptr(), result.data_ptr(), type, begin, end); });
    return result;
}

// bfloat16 by a weight that is frozen and packed (one dimension), or by a float32 matrix (inputs, outputs) that trains: packed anew for every step, its
// gradient summed in float32.
struct PackedLinear : torch::autograd::Function<PackedLinear> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias, int64_t outputs, int64_t activation, at::ScalarType type, bool record) {
        const int64_t inputs = x.size(-1);
        const auto kind = static_cast<kernels::Activation>(activation);
        const bool bias_trains = bias.has_value() && bias->defined() && bias->requires_grad();
        const bool needs_slope = record && kind != kernels::Activation::None && (x.requires_grad() || weight.requires_grad() || bias_trains);
        at::Tensor slope;
        const at::Tensor rows = as_type(x, at::kBFloat16).view({-1, inputs}), ready = weight.dim() == 2 ? packed(weight) : weight;
        const at::Tensor y = packed_product(rows, ready, float_data(bias), inputs, outputs, false, kind, type, needs_slope ? &slope : nullptr);
        context->save_for_backward({x.requires_grad() ? ready : at::Tensor(), slope, weight.requires_grad() ? rows : at::Tensor()});
        context->saved_data["inputs"] = inputs;
        context->saved_data["outputs"] = outputs;
        context->saved_data["type"] = static_cast<int64_t>(x.scalar_type());
        context->saved_data["bias"] = bias_trains;
        std::vector<int64_t> shape = x.sizes().vec();
        shape.back() = outputs;
        return y.view(shape);
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const int64_t inputs = context->saved_data["inputs"].toInt(), outputs = context->saved_data["outputs"].toInt();
        at::Tensor dy = as_type(gradients[0], at::kBFloat16).view({-1, outputs});
        if (saved[1].defined()) dy = times(dy, saved[1]);
        at::Tensor dx, d_weight, d_bias;
        if (saved[0].defined()) {
            dx = packed_product(dy, saved[0], nullptr, inputs, outputs, true, kernels::Activation::None, static_cast<at::ScalarType>(context->saved_data["type"].toInt()), nullptr);
            std::vector<int64_t> shape = gradients[0].sizes().vec();
            shape.back() = inputs;
            dx = dx.view(shape);
        }
        if (saved[2].defined()) d_weight = weight_gradient(saved[2], dy);
        if (context->saved_data["bias"].toBool()) d_bias = column_sums(dy);
        return {dx, d_weight, d_bias, Variable(), Variable(), Variable(), Variable()};
    }
};

// The same in float32, trained or not: libtorch's product, bias and activation in one pass after it.
struct PlainLinear : torch::autograd::Function<PlainLinear> {
    static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias, int64_t activation, bool record) {
        const auto kind = static_cast<kernels::Activation>(activation);
        const at::Tensor rows = as_type(x, at::kFloat).view({-1, x.size(-1)});
        at::Tensor y = at::mm(rows, weight);
        at::Tensor slope;
        const bool gradient = record && (x.requires_grad() || weight.requires_grad() || (bias.has_value() && bias->requires_grad()));
        if (kind != kernels::Activation::None && gradient) slope = at::empty_like(y);
        if (kind != kernels::Activation::None || (bias.has_value() && bias->defined())) {
            const int64_t width = y.size(1);
            at::parallel_for(0, y.size(0), grain_of(width), [&](int64_t begin, int64_t end) {
                float* data = y.data_ptr<float>();
                kernels::active().activate(data, float_data(bias), kind, width, data, slope.defined() ? slope.data_ptr<float>() : nullptr, begin, end);
            });
        }
        context->save_for_backward({x.requires_grad() ? weight : at::Tensor(), slope, weight.requires_grad() ? rows : at::Tensor()});
        context->saved_data["bias"] = bias.has_value() && bias->defined() && bias->requires_grad();
        std::vector<int64_t> shape = x.sizes().vec();
        shape.back() = weight.size(1);
        return y.view(shape);
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        at::Tensor dy = as_type(gradients[0], at::kFloat).view({-1, gradients[0].size(-1)});
        if (saved[1].defined()) dy = times(dy, saved[1]);
        at::Tensor dx, d_weight, d_bias;
        if (saved[0].defined()) {
            std::vector<int64_t> shape = gradients[0].sizes().vec();
            shape.back() = saved[0].size(0);
            dx = at::mm(dy, saved[0].t()).view(shape);
        }
        if (saved[2].defined()) d_weight = at::mm(saved[2].t(), dy);
        if (context->saved_data["bias"].toBool()) d_bias = column_sums(dy);
        return {dx, d_weight, d_bias, Variable(), Variable()};
    }
};

at::Tensor pack(const at::Tensor& weight, bool transposed) {
    TORCH_CHECK(weight.dim() == 2 && weight.numel() > 0 && weight.scalar_type() == at::kFloat && weight.is_cpu(), "pack wants a float32 matrix on the CPU");
    return packed(transposed ? weight.t() : weight);
}

void check_packed(const at::Tensor& packed, int64_t inputs, int64_t outputs) {
    TORCH_CHECK(inputs > 0 && outputs > 0 && packed.dim() == 1 && packed.scalar_type() == at::kBFloat16 && packed.is_cpu() && packed.is_contiguous() && packed.numel() == kernels::packed_elements(inputs, outputs),
                "the packed weight does not belong to ", inputs, " inputs and ", outputs, " outputs");
}

at::Tensor unpack(const at::Tensor& packed, int64_t inputs, int64_t outputs) {
    TORCH_CHECK(kernels::active().unpack != nullptr, "this processor has no bfloat16 products, so it has packed no weights");
    check_packed(packed, inputs, outputs);
    at::Tensor weight = at::empty({inputs, outputs}, packed.options().dtype(at::kFloat));
    const int64_t panels = (kernels::round_up(outputs, 16) + kernels::kPanel - 1) / kernels::kPanel;
    at::parallel_for(0, panels, 1, [&](int64_t begin, int64_t end) { kernels::active().unpack(bf16_data(packed), inputs, outputs, weight.data_ptr<float>(), begin, end); });
    return weight;
}

at::Tensor linear(const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias, int64_t outputs, c10::string_view activation_name, at::ScalarType type) {
    const kernels::Activation activation = activation_of(std::string(activation_name));
    const bool record = at::GradMode::is_enabled();  // within a custom function it is always off
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0 && outputs > 0, "linear wants at least one dimension, and at least one number in and out of a row");
    check_floating(x, "the input");
    check_floating(type);
    check_device(x, weight, "the weight");
    if (bias.has_value() && bias->defined()) {
        TORCH_CHECK(bias->dim() == 1 && bias->numel() == outputs && bias->is_contiguous(), "the bias must be ", outputs, " numbers in a row");
        check_floating(*bias, "the bias");
        check_device(x, *bias, "the bias");
    }
    if (weight.dim() == 1) {
        check_packed(weight, x.size(-1), outputs);
        if (has_kernel(x, type) && kernels::active().product != nullptr) return PackedLinear::apply(x, weight, bias, outputs, static_cast<int64_t>(activation), type, record);
        TORCH_CHECK(kernels::active().unpack != nullptr, "packed weights need a processor that multiplies bfloat16");
        const at::Tensor y = at::matmul(x.to(at::kFloat), unpack(weight, x.size(-1), outputs));
        return activate(bias.has_value() ? y + *bias : y, activation).to(type);
    }
    TORCH_CHECK(weight.dim() == 2 && weight.size(0) == x.size(-1) && weight.size(1) == outputs, "the weight is not (", x.size(-1), ", ", outputs, ")");
    check_floating(weight, "the weight");
    if (has_kernel(x) && weight.scalar_type() == at::kFloat && type == at::kBFloat16 && kernels::active().product != nullptr) return PackedLinear::apply(x, weight, bias, outputs, static_cast<int64_t>(activation), type, record);
    if (has_kernel(x) && weight.scalar_type() == at::kFloat) {
        const at::Tensor y = PlainLinear::apply(x, weight, bias, static_cast<int64_t>(activation), record);
        return y.scalar_type() == type ? y : y.to(type);
    }
    // Where bfloat16 flows, as on a GPU, a float32 weight that trains is rounded for each step; its gradient is float32 again.
    const at::ScalarType product_type = type == at::kBFloat16 ? type : weight.scalar_type();
    const at::Tensor y = at::matmul(x.to(product_type), weight.to(product_type));
    return activate(bias.has_value() ? y + bias->to(y.scalar_type()) : y, activation).to(type);
}

// The outputs [first, first + count) alone. Of a packed weight the panels that hold them: a panel's columns lie together.
at::Tensor linear_part(const at::Tensor& x, const at::Tensor& weight, const c10::optional<at::Tensor>& bias, int64_t outputs, int64_t first, int64_t count, at::ScalarType type) {
    TORCH_CHECK(first >= 0 && count > 0 && count <= outputs && first <= outputs - count, "outputs ", first, " to ", first, " + ", count, " are not among ", outputs);
    TORCH_CHECK(x.dim() >= 1 && x.size(-1) > 0, "linear wants at least one dimension, and at least one number in a row");
    const bool has_bias = bias.has_value() && bias->defined();
    if (has_bias) TORCH_CHECK(bias->dim() == 1 && bias->numel() == outputs, "the bias must be ", outputs, " numbers in a row");
    const auto part_of_bias = [&](int64_t from, int64_t size) { return has_bias ? c10::optional<at::Tensor>(bias->narrow(0, from, size)) : c10::nullopt; };
    if (weight.dim() == 1) {
        const int64_t inputs = x.size(-1), from = first / kernels::kPanel * kernels::kPanel;
        check_packed(weight, inputs, outputs);
        const int64_t size = std::min(kernels::round_up(first + count, kernels::kPanel), outputs) - from;
        const at::Tensor panels = weight.narrow(0, kernels::packed_elements(inputs, from), kernels::packed_elements(inputs, size));
        return linear(x, panels, part_of_bias(from, size), size, "none", type).narrow(-1, first - from, count);
    }
    TORCH_CHECK(weight.dim() == 2 && weight.size(0) == x.size(-1) && weight.size(1) == outputs, "the weight is not (", x.size(-1), ", ", outputs, ")");
    return linear(x, weight.narrow(1, first, count), part_of_bias(first, count), count, "none", type);
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(permafrost, library) {
    library.def("pack(Tensor weight, bool transposed=False) -> Tensor", pack);
    library.def("unpack(Tensor packed, int inputs, int outputs) -> Tensor", unpack);
    library.def("linear(Tensor x, Tensor weight, Tensor? bias, int outputs, str activation, ScalarType dtype) -> Tensor", linear);
    library.def("linear_part(Tensor x, Tensor weight, Tensor? bias, int outputs, int first, int count, ScalarType dtype) -> Tensor", linear_part);
}

}  // namespace permafrost
