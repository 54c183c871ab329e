// Random generators: the default one of a device, and own ones with their own seed.
#include <ATen/CPUGeneratorImpl.h>

#include "internal.h"

struct pf_generator {
    at::Generator value;
};

namespace permafrost {

at::Generator& unwrap(const pf_generator* generator) {
    TORCH_CHECK(generator != nullptr, "a random generator that was already disposed");
    return const_cast<pf_generator*>(generator)->value;
}

namespace {
at::Generator select(const pf_generator* generator, int32_t device_type, int32_t device_index) {
    return generator ? unwrap(generator) : at::globalContext().defaultGenerator(make_device(device_type, device_index));
}
}  // namespace

}  // namespace permafrost

using permafrost::guarded;

int pf_generator_new(uint64_t seed, pf_generator** result) {
    return guarded([&] { *result = new pf_generator{at::make_generator<at::CPUGeneratorImpl>(seed)}; });
}

void pf_generator_free(pf_generator* generator) { delete generator; }

int pf_random_seed(uint64_t seed) {
    return guarded([&] { at::manual_seed(seed); });
}

int pf_random_state(const pf_generator* generator, int32_t device_type, int32_t device_index, pf_tensor** result) {
    return guarded([&] {
        at::Generator source = permafrost::select(generator, device_type, device_index);
        const std::lock_guard<std::mutex> lock(source.mutex());
        *result = permafrost::wrap(source.get_state());
    });
}

int pf_random_state_set(const pf_generator* generator, int32_t device_type, int32_t device_index, const pf_tensor* state) {
    return guarded([&] {
        at::Generator target = permafrost::select(generator, device_type, device_index);
        const std::lock_guard<std::mutex> lock(target.mutex());
        target.set_state(permafrost::unwrap(state));
    });
}
