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
// With few rows all pairs are summed at once, in as many sums as hide the
// latency of additions, so that weights are read in one pass.
constexpr int kRowsAtFullWidth = kRegisters == 32 ? kTileRows : 2;
// So many rows of a block of inputs stay in the nearest cache.
constexpr int kFewRows = 16;

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
  bool first_block;  // sums hold nothing yet
  // What to fetch into the cache meanwhile: for each input `fetch_step` bytes.
  const char* fetch;
  int64_t fetch_step;
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
  const char* fetch =
      tile.fetch + first_pair * tile.num_inputs * tile.fetch_step;
#pragma GCC unroll 2
  for (int64_t k = 0; k < tile.num_inputs; ++k) {
    Prefetch(fetch);
    if constexpr (sizeof(typename Panel::Element) == 4 &&
                  kPairsAtOnce == kPairs) {
      Prefetch(fetch + 64);  // an input's weights are two lines
    }
    fetch += tile.fetch_step;
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
  if constexpr (kRows <= kRowsAtFullWidth) {
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

// A block of one panel for all rows. While it runs, the `fetch_bytes` at
// `fetch` come into the cache, spread over the whole time: all at once they
// would hold up the loads of the arithmetic.
template <typename Panel>
CARAVAN_INLINE void MultiplyBlock(const float* packed, int num_rows,
                                  const Tile<Panel>& block,
                                  int64_t fetch_bytes) {
  const int num_tiles = (num_rows + kTileRows - 1) / kTileRows;
  int row = 0;
  for (int t = 0; t < num_tiles; ++t) {
    // As PackRows divides rows among tiles.
    const int end = num_rows * (t + 1) / num_tiles;
    const int height = end - row;
    const int passes = height <= kRowsAtFullWidth ? 1 : kPairs;
    Tile<Panel> tile = block;
    tile.x = packed + row * block.num_inputs;
    tile.sums = block.sums + row * block.stride;
    tile.fetch = block.fetch + fetch_bytes * t / num_tiles;
    tile.fetch_step = fetch_bytes / (num_tiles * passes) / block.num_inputs;
    MultiplyTileOf<Panel>(height, tile);
    row = end;
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

// Sums of panels [first, last): (rows, their outputs).
struct PanelSums {
  int64_t first;
  int64_t last;
  const float* sums;
};

CARAVAN_INLINE void WriteRows(const Product& product, int num_rows,
                              const PanelSums& panels) {
  const int64_t first = panels.first * kPanelOutputs;
  const int64_t all = (panels.last - panels.first) * kPanelOutputs;
  const int64_t left = product.num_outputs - first;
  for (int row = 0; row < num_rows; ++row) {
    const float* residual =
        product.residual == nullptr
            ? nullptr
            : product.residual + row * product.residual_stride + first;
    WriteRow(panels.sums + row * all, residual, all < left ? all : left,
             product.out + row * product.out_stride + first);
  }
}

// Panels [first, last) for all rows, block by block.
template <typename Panel>
CARAVAN_INLINE void MultiplyPanels(const MultiplyArguments& a, int64_t first,
                                   int64_t last) {
  using Element = typename Panel::Element;
  constexpr int64_t kInputBytes = kPanelOutputs * sizeof(Element);
  // With one row, weights are used as fast as they come: fetch just ahead.
  constexpr int64_t kAhead = 2048;
  const int64_t stride = (last - first) * kPanelOutputs;
  const int64_t panel_bytes = a.num_inputs * kInputBytes;
  for (int64_t k = 0; k < a.num_inputs; k += kBlockInputs) {
    const int64_t left = a.num_inputs - k;
    const int64_t num_inputs = left < kBlockInputs ? left : kBlockInputs;
    for (int64_t panel = first; panel < last; ++panel) {
      const char* weights = static_cast<const char*>(a.panels) +
                            panel * panel_bytes + k * kInputBytes;
      const char* next = weights + kAhead;
      if (a.num_rows > 1) {
        next = panel + 1 < last ? weights + panel_bytes
                                : weights - (panel - first) * panel_bytes +
                                      num_inputs * kInputBytes;
      }
      MultiplyBlock<Panel>(
          a.packed + k * a.num_rows, a.num_rows,
          {.x = nullptr,
           .weights = reinterpret_cast<const Element*>(weights),
           .num_inputs = num_inputs,
           .sums = a.scratch + (panel - first) * kPanelOutputs,
           .stride = stride,
           .first_block = k == 0,
           .fetch = next,
           .fetch_step = 0},
          num_inputs * kInputBytes);
    }
  }
}

template <typename Panel>
void Multiply(const MultiplyArguments& a) {
  // Many rows do not stay in the nearest cache: each block of them serves
  // several panels.
  const int64_t at_once = a.num_rows > kFewRows ? kPanelsAtOnce : 1;
  for (int64_t first = 0; first < a.num_panels; first += at_once) {
    const int64_t last =
        first + at_once < a.num_panels ? first + at_once : a.num_panels;
    MultiplyPanels<Panel>(a, first, last);
    WriteRows(a.product, a.num_rows, {first, last, a.scratch});
  }
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_MULTIPLY_KERNELS_H_
