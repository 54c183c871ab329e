// float32 products of any layout: y = activation(a b + bias). A tile of rows by a panel of columns stays in registers while the inner dimension goes by, so every
// number of the result is one sum in one order, whatever the other rows are: libtorch's own products take another order for another number of rows.
//
// A panel of b is copied together first: its rows lie far apart otherwise, and a copy is cheap beside what is computed with it.
#include <algorithm>
#include <cstring>
#include <memory>

#include "vector_math.h"

namespace permafrost::kernels::PERMAFROST_ISA {

namespace {

#if defined(__AVX512F__)
constexpr int kWidth = 16, kTileRows = 8, kVectors = 3;
#elif defined(__AVX2__)
constexpr int kWidth = 8, kTileRows = 6, kVectors = 2;
#else
constexpr int kWidth = 4, kTileRows = 4, kVectors = 2;
#endif
constexpr int kColumns = kWidth * kVectors;
typedef float Vector __attribute__((vector_size(kWidth * sizeof(float)), aligned(4)));

// R rows of a by the panel, into sums (R x kColumns). Numbers of a row of a lie side by side.
template <int R>
void tile(const float* a, int64_t a_row, const float* panel, int64_t inner, float* sums) {
    Vector sum[R][kVectors] = {};
    for (int64_t k = 0; k < inner; k++) {
        Vector row[kVectors];
        for (int j = 0; j < kVectors; j++) std::memcpy(&row[j], panel + k * kColumns + j * kWidth, sizeof(Vector));
        for (int r = 0; r < R; r++) {
            const float value = a[r * a_row + k];
            for (int j = 0; j < kVectors; j++) sum[r][j] += value * row[j];
        }
    }
    for (int r = 0; r < R; r++)
        for (int j = 0; j < kVectors; j++) std::memcpy(sums + r * kColumns + j * kWidth, &sum[r][j], sizeof(Vector));
}

void tile_of(int rows, const float* a, int64_t a_row, const float* panel, int64_t inner, float* sums) {
    switch (rows) {
        case 8: return tile<8>(a, a_row, panel, inner, sums);
        case 7: return tile<7>(a, a_row, panel, inner, sums);
        case 6: return tile<6>(a, a_row, panel, inner, sums);
        case 5: return tile<5>(a, a_row, panel, inner, sums);
        case 4: return tile<4>(a, a_row, panel, inner, sums);
        case 3: return tile<3>(a, a_row, panel, inner, sums);
        case 2: return tile<2>(a, a_row, panel, inner, sums);
        default: return tile<1>(a, a_row, panel, inner, sums);
    }
}

void copy_panel(const pf_matmul_args& a, int64_t column, int64_t columns, float* panel) {
    if (a.b_column == 1) {
        for (int64_t k = 0; k < a.inner; k++) {
            std::memcpy(panel + k * kColumns, a.b + k * a.b_row + column, columns * sizeof(float));
            std::fill(panel + k * kColumns + columns, panel + (k + 1) * kColumns, 0.0f);
        }
        return;
    }
    // Sixteen numbers of a column at a time: each of its cache lines is read once.
    for (int64_t first = 0; first < a.inner; first += 16) {
        const int64_t last = std::min(first + 16, a.inner);
        for (int64_t j = 0; j < kColumns; j++)
            for (int64_t k = first; k < last; k++) panel[k * kColumns + j] = j < columns ? a.b[k * a.b_row + (column + j) * a.b_column] : 0.0f;
    }
}

template <Activation A>
void finish(const pf_matmul_args& a, const float* sums, int64_t row, int rows, int64_t column, int64_t columns) {
    for (int r = 0; r < rows; r++) {
        const float* sum = sums + r * kColumns;
        float* y = a.y + (row + r) * a.columns + column;
        const float* bias = a.bias == nullptr ? nullptr : a.bias + column;
        float* slope = a.slope == nullptr ? nullptr : a.slope + (row + r) * a.columns + column;
        if (slope != nullptr) {
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) {
                const Value value = activation<A>(sum[j] + (bias == nullptr ? 0.0f : bias[j]));
                y[j] = value.y;
                slope[j] = value.slope;
            }
        } else {
#pragma omp simd
            for (int64_t j = 0; j < columns; j++) y[j] = activation<A>(sum[j] + (bias == nullptr ? 0.0f : bias[j])).y;
        }
    }
}

void matmul(const pf_matmul_args& a, int64_t begin, int64_t end, int64_t first, int64_t last) {
    alignas(64) float sums[kTileRows * kColumns];
    const std::unique_ptr<float[]> panel(new float[std::max<int64_t>(1, a.inner) * kColumns]);
    const std::unique_ptr<float[]> rows_of_a(a.a_column == 1 ? nullptr : new float[kTileRows * std::max<int64_t>(1, a.inner)]);
    for (int64_t p = begin; p < end; p++) {
        const int64_t column = p * kColumns, columns = std::min<int64_t>(kColumns, a.columns - column);
        copy_panel(a, column, columns, panel.get());
        for (int64_t row = first; row < last; row += kTileRows) {
            const int rows = static_cast<int>(std::min<int64_t>(kTileRows, last - row));
            const float* from = a.a + row * a.a_row;
            int64_t stride = a.a_row;
            if (a.a_column != 1) {
                for (int64_t k = 0; k < a.inner; k++)
                    for (int r = 0; r < rows; r++) rows_of_a[r * a.inner + k] = from[r * a.a_row + k * a.a_column];
                from = rows_of_a.get();
                stride = a.inner;
            }
            tile_of(rows, from, stride, panel.get(), a.inner, sums);
            with_activation(static_cast<Activation>(a.activation), [&](auto constant) { finish<decltype(constant)::value>(a, sums, row, rows, column, columns); });
        }
    }
}

}  // namespace

void add_matmul(Kernels& kernels) {
    kernels.matmul = matmul;
    kernels.matmul_panel = kColumns;
}

}  // namespace permafrost::kernels::PERMAFROST_ISA
