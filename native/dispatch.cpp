// Which instruction sets there are, and which one is used.
#include "kernels.h"

namespace permafrost::kernels {

#define PERMAFROST_DECLARE(isa) \
    namespace isa { \
    void add_rows(Kernels&); \
    void add_attention(Kernels&); \
    void add_matmul(Kernels&); \
    void add_product(Kernels&); \
    }
PERMAFROST_DECLARE(portable)
#ifdef PERMAFROST_X86
PERMAFROST_DECLARE(avx2)
PERMAFROST_DECLARE(avx512)
PERMAFROST_DECLARE(avx512_bf16)
#endif

namespace {

struct Sets {
    Kernels sets[4] = {};
    const Kernels* list[4] = {};
    int count = 0;
    const Kernels* chosen = nullptr;

    Sets() {
#ifdef PERMAFROST_X86
        __builtin_cpu_init();
        const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
        if (avx512 && __builtin_cpu_supports("avx512bf16")) {
            Kernels& set = add("avx512-bf16");
            avx512_bf16::add_rows(set);
            avx512_bf16::add_attention(set);
            avx512_bf16::add_matmul(set);
            avx512_bf16::add_product(set);
        }
        if (avx512) {
            Kernels& set = add("avx512");
            avx512::add_rows(set);
            avx512::add_attention(set);
            avx512::add_matmul(set);
        }
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            Kernels& set = add("avx2");
            avx2::add_rows(set);
            avx2::add_attention(set);
            avx2::add_matmul(set);
        }
#endif
        Kernels& set = add("portable");
        portable::add_rows(set);
        portable::add_attention(set);
        portable::add_matmul(set);
        chosen = list[0];
    }

    bool choose(const std::string& name) {
        for (int i = 0; i < count; i++)
            if (name == list[i]->name) {
                chosen = list[i];
                return true;
            }
        return false;
    }

private:
    Kernels& add(const char* name) {
        list[count] = &sets[count];
        sets[count].name = name;
        return sets[count++];
    }
};

Sets& sets() {
    static Sets instance;
    return instance;
}

}  // namespace

const Kernels& active() { return *sets().chosen; }

const Kernels* const* available(int* count) {
    *count = sets().count;
    return sets().list;
}

bool select(const std::string& name) { return sets().choose(name); }

}  // namespace permafrost::kernels
