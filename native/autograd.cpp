// Reverse-mode differentiation: what is not an operator of the dispatcher.
#include <ATen/core/grad_mode.h>

#include "internal.h"

using permafrost::guarded;
using permafrost::unwrap;

int pf_backward(const pf_tensor* tensor, const pf_tensor* gradient) {
    return guarded([&] { unwrap(tensor).backward(gradient ? unwrap(gradient) : at::Tensor()); });
}

int pf_gradient(const pf_tensor* tensor, pf_tensor** result) {
    return guarded([&] {
        const at::Tensor& gradient = unwrap(tensor).grad();
        *result = gradient.defined() ? permafrost::wrap(gradient) : nullptr;
    });
}

int pf_gradient_set(const pf_tensor* tensor, const pf_tensor* gradient) {
    return guarded([&] { unwrap(tensor).mutable_grad() = gradient ? unwrap(gradient) : at::Tensor(); });
}

int pf_requires_grad_set(const pf_tensor* tensor, int32_t value) {
    return guarded([&] { unwrap(tensor).set_requires_grad(value != 0); });
}

int32_t pf_grad_mode(void) { return at::GradMode::is_enabled(); }
void pf_grad_mode_set(int32_t enabled) { at::GradMode::set_enabled(enabled != 0); }
