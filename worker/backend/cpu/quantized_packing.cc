#include "worker/backend/cpu/quantized_packing.h"

#include <array>
#include <cstring>

#include "absl/types/span.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

constexpr int64_t kOutputs = cpu::kPanelOutputs;
constexpr int64_t kHalfBytes = 2;  // of a scale or minimum
constexpr int64_t kWordBytes = 4;
constexpr int64_t kMostBlockBytes = 34;
static_assert(kBlockElements == cpu::kQuantizedBlock);

// Where the pieces of one output's block lie within the panel's block.
struct Place {
  Place(WeightFormat format, int64_t output)
      : num_halves(format == WeightFormat::kQ4Minimum ? 2 : 1),
        num_words((BlockBytes(format) - num_halves * kHalfBytes) / kWordBytes),
        first_half(output * kHalfBytes),
        first_word(num_halves * kOutputs * kHalfBytes + output * kWordBytes) {}

  int64_t num_halves;
  int64_t num_words;
  int64_t first_half;
  int64_t first_word;
};

void PutBlock(const Place& place, const std::byte* block, std::byte* panel) {
  for (int64_t i = 0; i < place.num_halves; ++i) {
    std::memcpy(panel + place.first_half + i * kOutputs * kHalfBytes, block,
                kHalfBytes);
    block += kHalfBytes;
  }
  for (int64_t i = 0; i < place.num_words; ++i) {
    std::memcpy(panel + place.first_word + i * kOutputs * kWordBytes, block,
                kWordBytes);
    block += kWordBytes;
  }
}

void TakeBlock(const Place& place, const std::byte* panel, std::byte* block) {
  for (int64_t i = 0; i < place.num_halves; ++i) {
    std::memcpy(block, panel + place.first_half + i * kOutputs * kHalfBytes,
                kHalfBytes);
    block += kHalfBytes;
  }
  for (int64_t i = 0; i < place.num_words; ++i) {
    std::memcpy(block, panel + place.first_word + i * kOutputs * kWordBytes,
                kWordBytes);
    block += kWordBytes;
  }
}

}  // namespace

void PackQuantizedPanel(WeightFormat format, const std::byte* rows,
                        int64_t num_rows, int64_t cols, std::byte* panel) {
  const int64_t block_bytes = BlockBytes(format);
  const int64_t num_blocks = cols / kBlockElements;
  if (num_rows < kOutputs) {
    std::memset(panel, 0, kOutputs * num_blocks * block_bytes);
  }
  for (int64_t block = 0; block < num_blocks; ++block) {
    std::byte* to = panel + block * kOutputs * block_bytes;
    for (int64_t output = 0; output < num_rows; ++output) {
      PutBlock(Place(format, output),
               rows + (output * num_blocks + block) * block_bytes, to);
    }
  }
}

void CopyQuantizedRow(WeightFormat format, const std::byte* panel,
                      int64_t output, int64_t cols, float* out) {
  const int64_t block_bytes = BlockBytes(format);
  const Place place(format, output);
  std::array<std::byte, kMostBlockBytes> bytes;
  for (int64_t block = 0; block < cols / kBlockElements; ++block) {
    TakeBlock(place, panel + block * kOutputs * block_bytes, bytes.data());
    Decode(format, absl::MakeConstSpan(bytes.data(), block_bytes),
           absl::MakeSpan(out + block * kBlockElements, kBlockElements));
  }
}

}  // namespace caravan::worker
