// Threads, devices and the switches of the global context.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <dlfcn.h>

#include "internal.h"

using permafrost::guarded;

int32_t pf_threads(void) { return at::get_num_threads(); }

int pf_threads_set(int32_t threads) {
    return guarded([&] {
        TORCH_CHECK(threads > 0, "the number of threads must be positive, not ", threads);
        at::set_num_threads(threads);
        // Debian's OpenBLAS keeps a pool of its own that libtorch does not know of; left alone it would ignore the number.
        if (auto* set = reinterpret_cast<void (*)(int)>(dlsym(RTLD_DEFAULT, "openblas_set_num_threads"))) set(threads);
    });
}

int32_t pf_cuda_devices(void) {
    int32_t count = 0;
    guarded([&] { count = at::hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; });
    return count;
}

int pf_deterministic_set(int32_t enabled) {
    return guarded([&] { at::globalContext().setDeterministicAlgorithms(enabled != 0, /*warn_only=*/false); });
}

int pf_synchronize(int32_t device_type, int32_t device_index) {
    return guarded([&] {
        const at::Device device = permafrost::make_device(device_type, device_index);
        // Copying one element to the host waits for everything queued before it; no CUDA headers are needed for that.
        if (!device.is_cpu()) at::zeros({1}, at::TensorOptions().device(device)).cpu();
    });
}
