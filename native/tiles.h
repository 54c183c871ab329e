// Intel's tile registers (AMX): up to 16 rows of 64 bytes each.
#ifndef PERMAFROST_TILES_H
#define PERMAFROST_TILES_H

#ifdef __AMX_BF16__
#include <immintrin.h>

#include "kernels.h"

namespace permafrost::kernels::PERMAFROST_ISA {

struct alignas(64) TileConfiguration {
    uint8_t palette = 1, start = 0, reserved[14] = {};
    uint16_t bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};

// Tiles belong to the thread, and every use of them begins and ends here.
class TileUse {
public:
    explicit TileUse(const TileConfiguration& configuration) { _tile_loadconfig(&configuration); }
    TileUse(const TileUse&) = delete;
    TileUse& operator=(const TileUse&) = delete;
    ~TileUse() { _tile_release(); }
};

}  // namespace permafrost::kernels::PERMAFROST_ISA
#endif

#endif
