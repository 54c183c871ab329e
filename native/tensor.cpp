// Tensors from and to host memory, their metadata and their lifetime.
#include <atomic>
#include <cstring>

#include "internal.h"

struct pf_tensor {
    at::Tensor value;
};

namespace permafrost {

namespace {
std::atomic<int64_t> live{0};
}

pf_tensor* wrap(at::Tensor tensor) {
    auto* handle = new pf_tensor{std::move(tensor)};
    live.fetch_add(1, std::memory_order_relaxed);
    return handle;
}

at::Tensor& unwrap(const pf_tensor* tensor) {
    TORCH_CHECK(tensor != nullptr, "a tensor that was already disposed, or none, where one is needed");
    return const_cast<pf_tensor*>(tensor)->value;
}

at::Device make_device(int32_t type, int32_t index) { return at::Device(static_cast<at::DeviceType>(type), static_cast<at::DeviceIndex>(index)); }

}  // namespace permafrost

using permafrost::guarded;
using permafrost::unwrap;

int pf_tensor_from_host(const void* data, int64_t bytes, const int64_t* shape, int32_t dimensions, int32_t dtype, pf_tensor** result) {
    return guarded([&] {
        at::Tensor tensor = at::empty(at::IntArrayRef(shape, dimensions), at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)));
        TORCH_CHECK(static_cast<int64_t>(tensor.nbytes()) == bytes, "a tensor of shape ", tensor.sizes(), " and type ", tensor.scalar_type(), " takes ", tensor.nbytes(), " bytes, not ", bytes);
        if (bytes) std::memcpy(tensor.data_ptr(), data, bytes);
        *result = permafrost::wrap(std::move(tensor));
    });
}

int pf_tensor_over_host(void* data, int64_t bytes, const int64_t* shape, int32_t dimensions, int32_t dtype, pf_tensor** result) {
    return guarded([&] {
        at::Tensor tensor = at::from_blob(data, at::IntArrayRef(shape, dimensions), at::TensorOptions().dtype(static_cast<at::ScalarType>(dtype)));
        TORCH_CHECK(static_cast<int64_t>(tensor.nbytes()) == bytes, "a tensor of shape ", tensor.sizes(), " and type ", tensor.scalar_type(), " takes ", tensor.nbytes(), " bytes, not ", bytes);
        *result = permafrost::wrap(std::move(tensor));
    });
}

int pf_tensor_to_host(const pf_tensor* handle, void* data, int64_t bytes) {
    return guarded([&] {
        const at::Tensor tensor = unwrap(handle).detach().to(at::kCPU).contiguous();
        TORCH_CHECK(static_cast<int64_t>(tensor.nbytes()) == bytes, "a tensor of shape ", tensor.sizes(), " and type ", tensor.scalar_type(), " holds ", tensor.nbytes(), " bytes, not ", bytes);
        if (bytes) std::memcpy(data, tensor.data_ptr(), bytes);
    });
}

int pf_tensor_describe(const pf_tensor* handle, pf_tensor_info* info, int64_t* shape, int32_t capacity) {
    return guarded([&] {
        const at::Tensor& tensor = unwrap(handle);
        TORCH_CHECK(tensor.dim() <= capacity, "a tensor of ", tensor.dim(), " dimensions; at most ", capacity, " are supported");
        info->elements = tensor.numel();
        info->dimensions = static_cast<int32_t>(tensor.dim());
        info->dtype = static_cast<int32_t>(tensor.scalar_type());
        info->device_type = static_cast<int32_t>(tensor.device().type());
        info->device_index = tensor.device().index();
        info->element_size = static_cast<int32_t>(tensor.element_size());
        info->contiguous = tensor.is_contiguous();
        info->requires_grad = tensor.requires_grad();
        info->is_leaf = tensor.is_leaf();
        info->data = tensor.device().is_cpu() ? tensor.data_ptr() : nullptr;
        for (int64_t i = 0; i < tensor.dim(); i++) shape[i] = tensor.size(i);
    });
}

void pf_tensor_free(pf_tensor* tensor) {
    if (!tensor) return;
    delete tensor;
    permafrost::live.fetch_sub(1, std::memory_order_relaxed);
}

int64_t pf_tensor_live(void) { return permafrost::live.load(std::memory_order_relaxed); }
