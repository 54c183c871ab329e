// Errors and versions.
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <cstring>

#include "internal.h"

namespace permafrost {

namespace {
thread_local std::string last_error;

void copy_text(const std::string& text, char* buffer, int64_t capacity) {
    if (capacity <= 0) return;
    const size_t length = std::min(text.size(), static_cast<size_t>(capacity - 1));
    std::memcpy(buffer, text.data(), length);
    buffer[length] = 0;
}
}  // namespace

void set_error(const std::string& message) { last_error = message; }

std::string describe_exception() {
    try {
        throw;
    } catch (const c10::Error& error) {
        return error.what_without_backtrace();
    } catch (const std::bad_alloc&) {
        return "out of memory";
    } catch (const std::exception& error) {
        return error.what();
    } catch (...) {
        return "an exception of an unknown type";
    }
}

}  // namespace permafrost

int32_t pf_abi_version(void) { return PF_ABI_VERSION; }
const char* pf_last_error(void) { return permafrost::last_error.c_str(); }
const char* pf_torch_version(void) { return TORCH_VERSION; }

int pf_torch_config(char* buffer, int64_t capacity) {
    return permafrost::guarded([&] { permafrost::copy_text(at::show_config() + at::get_parallel_info(), buffer, capacity); });
}

int pf_blas_info(char* buffer, int64_t capacity) {
    return permafrost::guarded([&] {
        std::string text;
        const auto text_of = [](const char* symbol) -> std::string {
            auto* function = reinterpret_cast<char* (*)()>(dlsym(RTLD_DEFAULT, symbol));
            return function ? function() : "";
        };
        const std::string config = text_of("openblas_get_config");
        if (!config.empty()) text = config + ", core " + text_of("openblas_get_corename");
        if (auto* threads = reinterpret_cast<int (*)()>(dlsym(RTLD_DEFAULT, "openblas_get_num_threads"))) text += ", " + std::to_string(threads()) + " threads";
        permafrost::copy_text(text, buffer, capacity);
    });
}
