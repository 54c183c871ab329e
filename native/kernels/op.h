// What the operators of this folder share.
#ifndef PERMAFROST_OP_H
#define PERMAFROST_OP_H

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "kernels.h"

namespace permafrost {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// Whether the kernels of this folder can take these tensors; otherwise the operator is composed of libtorch's own (which is also its test).
bool has_kernel(const at::Tensor& tensor);
// And whether they can write results of this type.
inline bool has_kernel(const at::Tensor& tensor, at::ScalarType result) { return has_kernel(tensor) && (result == at::kFloat || result == at::kBFloat16); }

// Kernels read memory as it lies, so the operators check everything that they are given.
inline void check_floating(const at::Tensor& tensor, const char* name) { TORCH_CHECK(at::isFloatingType(tensor.scalar_type()), name, " must be floating-point numbers, not ", tensor.scalar_type()); }
inline void check_floating(at::ScalarType result) { TORCH_CHECK(at::isFloatingType(result), "the result must be floating-point numbers, not ", result); }
inline void check_device(const at::Tensor& x, const at::Tensor& other, const char* name) { TORCH_CHECK(x.device() == other.device(), name, " is on ", other.device(), ", the input on ", x.device()); }
void compose_always(bool value);

inline kernels::Type type_of(const at::Tensor& tensor) { return tensor.scalar_type() == at::kFloat ? kernels::Type::Float : kernels::Type::BFloat16; }
inline kernels::bf16* bf16_data(const at::Tensor& tensor) { return reinterpret_cast<kernels::bf16*>(tensor.data_ptr()); }
inline const float* float_data(const c10::optional<at::Tensor>& tensor) { return tensor.has_value() && tensor->defined() ? tensor->data_ptr<float>() : nullptr; }

// What sums are kept in: float for the 16-bit types.
inline at::Tensor wide(const at::Tensor& x) { return x.scalar_type() == at::kBFloat16 || x.scalar_type() == at::kHalf ? x.to(at::kFloat) : x; }

// Contiguous, float or bfloat16; converted in parallel where it is the other one.
at::Tensor as_type(const at::Tensor& tensor, at::ScalarType type);

// Seed and probability of one dropout; the seed comes from libtorch's default generator, so that saving its state saves this.
kernels::Dropout draw_dropout(double probability);

kernels::Activation activation_of(const std::string& name);
at::Tensor activate(const at::Tensor& x, kernels::Activation activation);

// The share of work, in rows of `width` numbers, below which threads cost more than they save.
inline int64_t grain_of(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

}  // namespace permafrost

#endif
