// Activation checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"): a segment of the model runs without a record, and
// runs again, with one, when its gradient is wanted. The segment is C# code; it gets the same random numbers both times.
#include <ATen/CPUGeneratorImpl.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "internal.h"

namespace permafrost {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// The C# side of a segment; let go when the record that holds it is.
struct Segment : torch::CustomClassHolder {
    pf_segment run;
    pf_segment_release release;
    void* state;
    Segment(pf_segment run, pf_segment_release release, void* state) : run(run), release(release), state(state) {}
    ~Segment() override { release(state); }

    variable_list operator()(const at::Tensor& stream, const at::Tensor& update) const {
        pf_tensor* outputs[2] = {};
        const int status = run(state, wrap(stream), update.defined() ? wrap(update) : nullptr, outputs);
        TORCH_CHECK(status == 0, pf_last_error());
        variable_list results{unwrap(outputs[0]), unwrap(outputs[1])};
        pf_tensor_free(outputs[0]);
        pf_tensor_free(outputs[1]);
        return results;
    }
};

// The generators that dropout draws from: the CPU's, whose numbers seed the kernels, and the device's own.
std::vector<at::Generator> generators(const at::Device& device) {
    std::vector<at::Generator> result{at::globalContext().defaultGenerator(at::kCPU)};
    if (!device.is_cpu()) result.push_back(at::globalContext().defaultGenerator(device));
    return result;
}

variable_list random_states(const at::Device& device) {
    variable_list states;
    for (at::Generator& generator : generators(device)) {
        const std::lock_guard<std::mutex> lock(generator.mutex());
        states.push_back(generator.get_state());
    }
    return states;
}

void set_random_states(const at::Device& device, const variable_list& states) {
    auto targets = generators(device);
    for (size_t i = 0; i < targets.size(); i++) {
        const std::lock_guard<std::mutex> lock(targets[i].mutex());
        targets[i].set_state(states[i]);
    }
}

// Goes back to earlier random numbers, and in the end, also after an exception, to where they were.
class Rewound {
public:
    Rewound(const at::Device& device, const variable_list& states) : device_(device), now_(random_states(device)) { set_random_states(device_, states); }
    ~Rewound() { set_random_states(device_, now_); }

private:
    at::Device device_;
    variable_list now_;
};

struct Checkpointed : torch::autograd::Function<Checkpointed> {
    static variable_list forward(AutogradContext* context, c10::intrusive_ptr<Segment> segment, const at::Tensor& stream, const c10::optional<at::Tensor>& update) {
        const at::Tensor second = update.has_value() ? *update : at::Tensor();
        variable_list kept{stream, second};
        for (const at::Tensor& state : random_states(stream.device())) kept.push_back(state);
        context->save_for_backward(kept);
        context->saved_data["segment"] = c10::IValue::make_capsule(segment);
        context->set_materialize_grads(false);
        return (*segment)(stream, second);
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradients) {
        const variable_list saved = context->get_saved_variables();
        const auto segment = c10::static_intrusive_pointer_cast<Segment>(context->saved_data["segment"].toCapsule());
        const auto leaf = [](const at::Tensor& tensor) { return tensor.defined() ? tensor.detach().requires_grad_(true) : tensor; };
        const at::Tensor stream = leaf(saved[0]), update = leaf(saved[1]);
        variable_list outputs;
        {
            const Rewound rewound(stream.device(), variable_list(saved.begin() + 2, saved.end()));
            at::AutoGradMode enable(true);
            outputs = (*segment)(stream, update);
        }
        variable_list roots, roots_gradients;
        for (size_t i = 0; i < outputs.size(); i++) {
            if (!gradients[i].defined() || !outputs[i].requires_grad()) continue;
            roots.push_back(outputs[i]);
            roots_gradients.push_back(gradients[i]);
        }
        if (!roots.empty()) torch::autograd::backward(roots, roots_gradients);
        return {Variable(), stream.grad(), update.defined() ? update.grad() : Variable()};
    }
};

}  // namespace

}  // namespace permafrost

int pf_checkpoint(pf_segment run, pf_segment_release release, void* state, const pf_tensor* stream, const pf_tensor* update, pf_tensor** results) {
    return permafrost::guarded([&] {
        auto segment = c10::make_intrusive<permafrost::Segment>(run, release, state);
        const auto second = update ? c10::optional<at::Tensor>(permafrost::unwrap(update)) : c10::nullopt;
        const auto outputs = permafrost::Checkpointed::apply(segment, permafrost::unwrap(stream), second);
        results[0] = permafrost::wrap(outputs[0]);
        results[1] = permafrost::wrap(outputs[1]);
    });
}

void pf_error_set(const char* message) { permafrost::set_error(message); }
