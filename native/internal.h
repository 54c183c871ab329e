// Shared by the files of this folder; not part of the contract.
#pragma once

#include <ATen/ATen.h>

#include <exception>
#include <string>

#include "permafrost_torch.h"

namespace permafrost {

void set_error(const std::string& message);
std::string describe_exception();  // call inside a catch block

pf_tensor* wrap(at::Tensor tensor);  // counts the handle
at::Tensor& unwrap(const pf_tensor* tensor);
at::Generator& unwrap(const pf_generator* generator);
at::Device make_device(int32_t type, int32_t index);

// Runs body; turns whatever it throws into an error code and a message.
template <typename Body>
int guarded(Body&& body) {
    try {
        body();
        return 0;
    } catch (...) {
        set_error(describe_exception());
        return 1;
    }
}

}  // namespace permafrost
