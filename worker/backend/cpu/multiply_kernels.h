// Matrix products over panels of weights. Internal linkage: kernels.h says why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_MULTIPLY_KERNELS_H_
#define CARAVAN_WORKER_BACKEND_CPU_MULTIPLY_KERNELS_H_

#include <cstdint>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

// One input's weights of a panel are kPairs pairs of vectors: pair p holds the
// outputs from p * kLanes on, and those 16 further on.
constexpr int kPairs = 16 / kLanes;
// Sums that stay in registers, beside two weights and one element of x.
constexpr int kMostSums = kRegisters == 32 ? 24 : 12;
constexpr int kTileRows = kMostSums / 2;
// From this many rows on it pays to widen weights once, in memory, instead of
// once for each tile of rows.
constexpr int kWidenFromRows = 25;

struct Float32Panel {
  using Element = float;
  static CARAVAN_INLINE void LoadPair(const float* from, int pair, Vec* low,
                                      Vec* high) {
    *low = Load(from + pair * kLanes);
    *high = Load(from + 16 + pair * kLanes);
  }
};

struct Float16Panel {
  using Element = uint16_t;
  static CARAVAN_INLINE void LoadPair(const uint16_t* from, int pair, Vec* low,
                                      Vec* high) {
    *low = LoadFloat16(from + pair * kLanes);
    *high = LoadFloat16(from + 16 + pair * kLanes);
  }
};

struct BFloat16Panel {
  using Element = uint16_t;
  static CARAVAN_INLINE void LoadPair(const uint16_t* from, int pair, Vec* low,
                                      Vec* high) {
    const IntVec words =
        *reinterpret_cast<const IntVecInMemory*>(from + 2 * pair * kLanes);
    *low = FromBits(words << 16);
    *high = FromBits(words & static_cast<int32_t>(0xffff0000u));
  }
};

// A block of one panel for a tile of rows.
template <typename Panel>
struct Tile {
  const float* x;                          // (inputs, rows of the tile)
  const typename Panel::Element* weights;  // (inputs, kPanelOutputs)
  int64_t num_inputs;
  float* sums;  // (rows, kPanelOutputs) with the stride
  int64_t stride;
  bool first_block;        // sums hold nothing yet
  int64_t prefetch_ahead;  // in elements of weights; 0: do not
};

template <typename Panel, int kRows, int kPairsAtOnce>
CARAVAN_INLINE void MultiplyPairs(const Tile<Panel>& tile, int first_pair) {
  Vec low_sum[kPairsAtOnce][kRows];
  Vec high_sum[kPairsAtOnce][kRows];
#pragma GCC unroll 16
  for (int p = 0; p < kPairsAtOnce; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) low_sum[p][r] = high_sum[p][r] = Zero();
  }
  const typename Panel::Element* weights = tile.weights;
  const float* x = tile.x;
#pragma GCC unroll 2
  for (int64_t k = 0; k < tile.num_inputs; ++k) {
    Prefetch(weights + tile.prefetch_ahead);
#pragma GCC unroll 16
    for (int p = 0; p < kPairsAtOnce; ++p) {
      Vec low;
      Vec high;
      Panel::LoadPair(weights, first_pair + p, &low, &high);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const Vec element = Set(x[r]);
        low_sum[p][r] = Fma(element, low, low_sum[p][r]);
        high_sum[p][r] = Fma(element, high, high_sum[p][r]);
      }
    }
    weights += kPanelOutputs;
    x += kRows;
  }
#pragma GCC unroll 16
  for (int p = 0; p < kPairsAtOnce; ++p) {
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      float* low = tile.sums + r * tile.stride + (first_pair + p) * kLanes;
      float* high = low + 16;
      if (tile.first_block) {
        Store(low, low_sum[p][r]);
        Store(high, high_sum[p][r]);
      } else {
        Store(low, Load(low) + low_sum[p][r]);
        Store(high, Load(high) + high_sum[p][r]);
      }
    }
  }
}

template <typename Panel, int kRows>
__attribute__((noinline)) void MultiplyTile(const Tile<Panel>& tile) {
  if constexpr (kRows * 2 * kPairs <= kMostSums) {
    MultiplyPairs<Panel, kRows, kPairs>(tile, 0);
  } else {
    for (int pair = 0; pair < kPairs; ++pair) {
      MultiplyPairs<Panel, kRows, 1>(tile, pair);
    }
  }
}

template <typename Panel, int kRows = kTileRows>
CARAVAN_INLINE void MultiplyTileOf(int num_rows, const Tile<Panel>& tile) {
  if (num_rows == kRows) {
    MultiplyTile<Panel, kRows>(tile);
  } else if constexpr (kRows > 1) {
    MultiplyTileOf<Panel, kRows - 1>(num_rows, tile);
  }
}

// A block of one panel for all rows.
template <typename Panel>
CARAVAN_INLINE void MultiplyBlock(const float* packed, int num_rows,
                                  Tile<Panel> tile) {
  const int num_tiles = (num_rows + kTileRows - 1) / kTileRows;
  int row = 0;
  for (int t = 0; t < num_tiles; ++t) {
    // As PackRows divides rows among tiles.
    const int end = num_rows * (t + 1) / num_tiles;
    Tile<Panel> part = tile;
    part.x = packed + row * tile.num_inputs;
    part.sums = tile.sums + row * tile.stride;
    MultiplyTileOf<Panel>(end - row, part);
    // The first tile has fetched what follows.
    tile.prefetch_ahead = 0;
    row = end;
  }
}

template <typename Panel>
void Widen(const typename Panel::Element* from, int64_t num_inputs, float* to) {
  for (int64_t k = 0; k < num_inputs; ++k) {
    for (int pair = 0; pair < kPairs; ++pair) {
      Vec low;
      Vec high;
      Panel::LoadPair(from, pair, &low, &high);
      Store(to + pair * kLanes, low);
      Store(to + 16 + pair * kLanes, high);
    }
    from += kPanelOutputs;
    to += kPanelOutputs;
  }
}

// out = sums (+ residual) for some outputs of one row.
CARAVAN_INLINE void WriteRow(const float* sums, const float* residual,
                             int64_t count, float* out) {
  if (residual == nullptr) {
    __builtin_memcpy(out, sums, count * sizeof(float));
    return;
  }
  int64_t n = 0;
  for (; n + kLanes <= count; n += kLanes) {
    Store(out + n, Load(sums + n) + Load(residual + n));
  }
  for (; n < count; ++n) out[n] = sums[n] + residual[n];
}

template <typename Panel>
void Multiply(const MultiplyArguments& a) {
  using Element = typename Panel::Element;
  const bool widen = a.num_rows >= kWidenFromRows && sizeof(Element) < 4;
  const int64_t at_once = a.num_rows >= kWidenFromRows ? kPanelsAtOnce : 1;
  float* widened = a.scratch;
  float* sums = a.scratch + int64_t{kBlockInputs} * kPanelOutputs;
  const int64_t stride = at_once * kPanelOutputs;
  const int64_t panel_size = a.num_inputs * kPanelOutputs;
  for (int64_t first = 0; first < a.num_panels; first += at_once) {
    const int64_t last =
        first + at_once < a.num_panels ? first + at_once : a.num_panels;
    for (int64_t k = 0; k < a.num_inputs; k += kBlockInputs) {
      const int64_t left = a.num_inputs - k;
      const int64_t num_inputs = left < kBlockInputs ? left : kBlockInputs;
      const float* packed = a.packed + k * a.num_rows;
      for (int64_t panel = first; panel < last; ++panel) {
        const Element* weights = static_cast<const Element*>(a.panels) +
                                 panel * panel_size + k * kPanelOutputs;
        float* panel_sums = sums + (panel - first) * kPanelOutputs;
        if (widen) {
          Widen<Panel>(weights, num_inputs, widened);
          MultiplyBlock<Float32Panel>(
              packed, a.num_rows,
              {nullptr, widened, num_inputs, panel_sums, stride, k == 0, 0});
        } else {
          // With one row the weights just ahead; with more, while the first
          // tile runs, the whole next block.
          const int64_t ahead =
              a.num_rows == 1 ? 2048 / static_cast<int64_t>(sizeof(Element))
                              : num_inputs * kPanelOutputs;
          MultiplyBlock<Panel>(packed, a.num_rows,
                               {nullptr, weights, num_inputs, panel_sums,
                                stride, k == 0, ahead});
        }
      }
    }
    const int64_t first_output = first * kPanelOutputs;
    const int64_t end = last * kPanelOutputs < a.num_outputs
                            ? last * kPanelOutputs
                            : a.num_outputs;
    for (int row = 0; row < a.num_rows; ++row) {
      const float* residual =
          a.residual == nullptr
              ? nullptr
              : a.residual + row * a.residual_stride + first_output;
      WriteRow(sums + row * stride, residual, end - first_output,
               a.out + row * a.out_stride + first_output);
    }
  }
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_MULTIPLY_KERNELS_H_
