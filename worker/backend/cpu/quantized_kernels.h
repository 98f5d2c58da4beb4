// Products with quantized weights: whole numbers within a block, scaled in
// float32, blocks added in order. Nothing is fused, so that every instruction
// set gives the same bits. Internal linkage: kernels.h says why.
#ifndef CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_KERNELS_H_
#define CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_KERNELS_H_

#include <cstdint>

#include "worker/backend/cpu/kernels.h"
#include "worker/backend/cpu/multiply_kernels.h"
#include "worker/backend/cpu/quantized_simd.h"
#include "worker/backend/cpu/simd.h"

namespace caravan::worker::cpu {
namespace {

constexpr int kPanelVectors = kPanelOutputs / kLanes;
// Whole sums of a block stay in registers, beside weights and an element of x:
// up to these rows with all outputs of the panel, then with two vectors of
// them at once.
constexpr int kQuantizedTileRows = kRegisters == 32 ? 6 : 4;
constexpr int kQuantizedFullWidthRows = kRegisters == 32 ? kQuantizedTileRows
                                        : kLanes == 8    ? 2
                                                         : 1;
// Blocks of inputs after which the next rows get their turn.
constexpr int64_t kBlocksAtOnce = 16;

constexpr int64_t kHalvesBytes = 2 * kPanelOutputs;  // a float16 per output
constexpr int64_t kWordsBytes = 4 * kPanelOutputs;   // a word per output

// Sums of one block: for each row and vector of outputs w * x over its inputs.
template <int kRows, int kVectors>
struct BlockDots {
  IntVec of[kVectors][kRows];
};

// A value of 4 bits stands for 8 less than it is.
struct Q4Panel {
  static constexpr int64_t kHeaderBytes = kHalvesBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 4 * kWordsBytes;

  // `x`: a block of each row, one after another.
  template <int kRows, int kVectors>
  static CARAVAN_INLINE BlockDots<kRows, kVectors> Dot(const char* words,
                                                       const int8_t* x) {
    const IntVec mask = IntVec{} + 0x0f0f0f0f;
    ShortVec pairs[kVectors][kRows] = {};
#pragma GCC unroll 4
    for (int part = 0; part < 4; ++part) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const IntVec packed =
            LoadWords(words + part * kWordsBytes + v * kLanes * 4);
        const IntVec low = packed & mask;
        const IntVec high = (packed >> 4) & mask;
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          const int8_t* inputs = x + r * kQuantizedBlock + 4 * part;
          pairs[v][r] += MultiplyNibbles(low, BroadcastWord(inputs)) +
                         MultiplyNibbles(high, BroadcastWord(inputs + 16));
        }
      }
    }
    BlockDots<kRows, kVectors> dots;
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) dots.of[v][r] = SumPairs(pairs[v][r]);
    }
    return dots;
  }

  // Of a block, but for the scale of x: scale * (dot - 8 * sum).
  struct Scale {
    Vec scale;
    explicit CARAVAN_INLINE Scale(const uint16_t* header)
        : scale(LoadFloat16(header)) {}
    CARAVAN_INLINE Vec operator()(Vec dot, float sum) const {
      return scale * (dot - Set(8.0f * sum));
    }
  };
};

// The same quants; they stand for themselves times the scale, plus a minimum.
struct Q4MinimumPanel : Q4Panel {
  static constexpr int64_t kHeaderBytes = 2 * kHalvesBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 4 * kWordsBytes;

  struct Scale {
    Vec scale;
    Vec minimum;
    explicit CARAVAN_INLINE Scale(const uint16_t* header)
        : scale(LoadFloat16(header)),
          minimum(LoadFloat16(header + kPanelOutputs)) {}
    CARAVAN_INLINE Vec operator()(Vec dot, float sum) const {
      return scale * dot + minimum * Set(sum);
    }
  };
};

struct Q8Panel {
  static constexpr int64_t kHeaderBytes = kHalvesBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kWordsBytes;

  template <int kRows, int kVectors>
  static CARAVAN_INLINE BlockDots<kRows, kVectors> Dot(const char* words,
                                                       const int8_t* x) {
    BlockDots<kRows, kVectors> dots = {};
#pragma GCC unroll 8
    for (int part = 0; part < 8; ++part) {
#pragma GCC unroll 8
      for (int v = 0; v < kVectors; ++v) {
        const SignedBytes weights =
            SplitSigns(LoadWords(words + part * kWordsBytes + v * kLanes * 4));
#pragma GCC unroll 8
        for (int r = 0; r < kRows; ++r) {
          dots.of[v][r] += MultiplyBytes(
              weights, BroadcastWord(x + r * kQuantizedBlock + 4 * part));
        }
      }
    }
    return dots;
  }

  struct Scale {
    Vec scale;
    explicit CARAVAN_INLINE Scale(const uint16_t* header)
        : scale(LoadFloat16(header)) {}
    CARAVAN_INLINE Vec operator()(Vec dot, float) const { return scale * dot; }
  };
};

// Some blocks of one panel for a tile of rows.
struct QuantizedTile {
  const char* blocks;  // of the panel
  int64_t num_blocks;
  QuantizedRows x;   // of the tile's first row and the first block
  int64_t all_rows;  // from block to block of x
  float* sums;       // (rows, kPanelOutputs) with the stride
  int64_t stride;
  bool first;  // sums hold nothing yet
  // What to fetch into the cache meanwhile: for each block `fetch_step` bytes.
  const char* fetch;
  int64_t fetch_step;
};

template <typename Panel, int kRows, int kVectors>
CARAVAN_INLINE void MultiplyQuantizedVectors(const QuantizedTile& tile,
                                             int first_vector) {
  float* const sums = tile.sums + first_vector * kLanes;
  Vec sum[kVectors][kRows];
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      sum[v][r] =
          tile.first ? Zero() : Load(sums + r * tile.stride + v * kLanes);
    }
  }
  const char* block = tile.blocks;
  const char* fetch =
      tile.fetch + first_vector * tile.num_blocks * tile.fetch_step / kVectors;
  QuantizedRows x = tile.x;
  for (int64_t b = 0; b < tile.num_blocks; ++b) {
    for (int64_t at = 0; at < tile.fetch_step; at += 64) Prefetch(fetch + at);
    fetch += tile.fetch_step;
    const BlockDots<kRows, kVectors> dots =
        Panel::template Dot<kRows, kVectors>(
            block + Panel::kHeaderBytes + first_vector * kLanes * 4, x.values);
#pragma GCC unroll 8
    for (int v = 0; v < kVectors; ++v) {
      const typename Panel::Scale scale(
          reinterpret_cast<const uint16_t*>(block) +
          (first_vector + v) * kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
        const Vec dot = __builtin_convertvector(dots.of[v][r], Vec);
        sum[v][r] += Set(x.scales[r]) * scale(dot, x.sums[r]);
      }
    }
    block += Panel::kBlockBytes;
    x.values += tile.all_rows * kQuantizedBlock;
    x.scales += tile.all_rows;
    x.sums += tile.all_rows;
  }
#pragma GCC unroll 8
  for (int v = 0; v < kVectors; ++v) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      Store(sums + r * tile.stride + v * kLanes, sum[v][r]);
    }
  }
}

// How often a tile of so many rows goes over a panel's blocks.
constexpr int QuantizedPasses(int num_rows) {
  return num_rows <= kQuantizedFullWidthRows ? 1 : kPanelVectors / 2;
}

template <typename Panel, int kRows>
__attribute__((noinline)) void MultiplyQuantizedTile(
    const QuantizedTile& tile) {
  constexpr int kVectors = kPanelVectors / QuantizedPasses(kRows);
  for (int first = 0; first < kPanelVectors; first += kVectors) {
    MultiplyQuantizedVectors<Panel, kRows, kVectors>(tile, first);
  }
}

template <typename Panel, int kRows = kQuantizedTileRows>
CARAVAN_INLINE void MultiplyQuantizedTileOf(int num_rows,
                                            const QuantizedTile& tile) {
  if (num_rows == kRows) {
    MultiplyQuantizedTile<Panel, kRows>(tile);
  } else if constexpr (kRows > 1) {
    MultiplyQuantizedTileOf<Panel, kRows - 1>(num_rows, tile);
  }
}

// Some blocks of one panel for all rows; while that runs, `fetch_bytes` at
// `fetch` come into the cache.
template <typename Panel>
CARAVAN_INLINE void MultiplyQuantizedBlocks(const QuantizedTile& all,
                                            int num_rows, int64_t fetch_bytes) {
  const int num_tiles =
      (num_rows + kQuantizedTileRows - 1) / kQuantizedTileRows;
  int row = 0;
  for (int t = 0; t < num_tiles; ++t) {
    const int end = num_rows * (t + 1) / num_tiles;
    QuantizedTile tile = all;
    tile.x.values += row * kQuantizedBlock;
    tile.x.scales += row;
    tile.x.sums += row;
    tile.sums += row * all.stride;
    tile.fetch += fetch_bytes * t / num_tiles;
    tile.fetch_step =
        fetch_bytes / (num_tiles * QuantizedPasses(end - row)) / all.num_blocks;
    MultiplyQuantizedTileOf<Panel>(end - row, tile);
    row = end;
  }
}

// Panels [first, last) for all rows.
template <typename Panel>
CARAVAN_INLINE void MultiplyQuantizedPanels(const MultiplyQuantizedArguments& a,
                                            int64_t first, int64_t last) {
  // With one row, weights are used as fast as they come: fetch just ahead.
  constexpr int64_t kAhead = 2048;
  const int64_t panel_bytes = a.num_blocks * Panel::kBlockBytes;
  const int64_t at_once = a.num_rows == 1 ? a.num_blocks : kBlocksAtOnce;
  for (int64_t begin = 0; begin < a.num_blocks; begin += at_once) {
    const int64_t left = a.num_blocks - begin;
    const int64_t num_blocks = left < at_once ? left : at_once;
    for (int64_t panel = first; panel < last; ++panel) {
      const char* blocks = static_cast<const char*>(a.panels) +
                           panel * panel_bytes + begin * Panel::kBlockBytes;
      const char* next = blocks + kAhead;
      if (a.num_rows > 1) {
        next = panel + 1 < last ? blocks + panel_bytes
                                : blocks - (panel - first) * panel_bytes +
                                      num_blocks * Panel::kBlockBytes;
      }
      const QuantizedTile all = {
          .blocks = blocks,
          .num_blocks = num_blocks,
          .x = {.values = a.x.values + begin * a.num_rows * kQuantizedBlock,
                .scales = a.x.scales + begin * a.num_rows,
                .sums = a.x.sums + begin * a.num_rows},
          .all_rows = a.num_rows,
          .sums = a.scratch + (panel - first) * kPanelOutputs,
          .stride = (last - first) * kPanelOutputs,
          .first = begin == 0,
          .fetch = next,
          .fetch_step = 0};
      MultiplyQuantizedBlocks<Panel>(all, a.num_rows,
                                     num_blocks * Panel::kBlockBytes);
    }
  }
}

template <typename Panel>
void MultiplyQuantized(const MultiplyQuantizedArguments& a) {
  const int64_t at_once = a.num_rows > kFewRows ? kPanelsAtOnce : 1;
  for (int64_t first = 0; first < a.num_panels; first += at_once) {
    const int64_t last =
        first + at_once < a.num_panels ? first + at_once : a.num_panels;
    MultiplyQuantizedPanels<Panel>(a, first, last);
    WriteRows(a.product, a.num_rows, {first, last, a.scratch});
  }
}

}  // namespace
}  // namespace caravan::worker::cpu

#endif  // CARAVAN_WORKER_BACKEND_CPU_QUANTIZED_KERNELS_H_
