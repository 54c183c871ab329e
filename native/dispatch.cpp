// Which instruction sets there are, and which one is used.
#ifdef PERMAFROST_X86
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "kernels.h"

namespace permafrost::kernels {

#define PERMAFROST_DECLARE(isa) \
    namespace isa { \
    void add_rows(Kernels&); \
    void add_attention(Kernels&); \
    void add_convolution(Kernels&); \
    void add_matmul(Kernels&); \
    void add_product(Kernels&); \
    }
PERMAFROST_DECLARE(portable)
#ifdef PERMAFROST_X86
PERMAFROST_DECLARE(avx2)
PERMAFROST_DECLARE(avx512)
PERMAFROST_DECLARE(avx512_bf16)
PERMAFROST_DECLARE(avx512_amx)
#endif

namespace {

#ifdef PERMAFROST_X86
// Whether the processor has tile registers for bfloat16, and the system lets this process use them.
bool has_tiles() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kBFloat16 = 1u << 22, kTile = 1u << 24;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kBFloat16) == 0 || (d & kTile) == 0) return false;
    constexpr long kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}
#endif

struct Sets {
    Kernels sets[5] = {};
    const Kernels* list[5] = {};
    int count = 0;
    const Kernels* chosen = nullptr;

    Sets() {
#ifdef PERMAFROST_X86
        __builtin_cpu_init();
        const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
        if (avx512 && __builtin_cpu_supports("avx512bf16") && has_tiles()) {
            Kernels& set = add("avx512-amx");
            avx512_amx::add_rows(set);
            avx512_amx::add_attention(set);
            avx512_amx::add_convolution(set);
            avx512_amx::add_matmul(set);
            avx512_amx::add_product(set);
        }
        if (avx512 && __builtin_cpu_supports("avx512bf16")) {
            Kernels& set = add("avx512-bf16");
            avx512_bf16::add_rows(set);
            avx512_bf16::add_attention(set);
            avx512_bf16::add_convolution(set);
            avx512_bf16::add_matmul(set);
            avx512_bf16::add_product(set);
        }
        if (avx512) {
            Kernels& set = add("avx512");
            avx512::add_rows(set);
            avx512::add_attention(set);
            avx512::add_convolution(set);
            avx512::add_matmul(set);
        }
        if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
            Kernels& set = add("avx2");
            avx2::add_rows(set);
            avx2::add_attention(set);
            avx2::add_convolution(set);
            avx2::add_matmul(set);
        }
#endif
        Kernels& set = add("portable");
        portable::add_rows(set);
        portable::add_attention(set);
        portable::add_convolution(set);
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
