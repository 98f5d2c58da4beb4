#include "worker/backend/cuda/batch_table.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/types/span.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/status_macros.h"

namespace caravan::worker::cuda {
namespace {

constexpr int64_t kPackedAlignment = 16;
static_assert(sizeof(QueryTile) % kPackedAlignment == 0);

// Several arrays as one piece of memory, so that one copy brings them over.
class Packing final {
 public:
  // Returns where the array begins.
  template <typename T>
  size_t Add(const std::vector<T>& values) {
    bytes_.resize(
        RoundUp(static_cast<int64_t>(bytes_.size()), kPackedAlignment));
    const size_t at = bytes_.size();
    bytes_.resize(at + values.size() * sizeof(T));
    if (!values.empty()) {
      std::memcpy(bytes_.data() + at, values.data(), values.size() * sizeof(T));
    }
    return at;
  }
  absl::Span<const std::byte> bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
};

int32_t Narrow(int64_t value) {
  CARAVAN_CHECK(value >= 0 && value <= std::numeric_limits<int32_t>::max());
  return static_cast<int32_t>(value);
}

int64_t BlocksOf(const BatchSequence& sequence) {
  return CeilDivide(sequence.first_position + sequence.num_rows,
                    kBlockPositions);
}

}  // namespace

int64_t MostTiles(const StepLimits& limits, int rows_per_tile) {
  // Of each sequence the last tile may have fewer rows.
  return std::min(limits.max_rows,
                  limits.max_rows / rows_per_tile + limits.max_sequences);
}

absl::Status HeadTable::Reserve(const AttentionShape& shape) {
  heads_ = nullptr;
  return table_.Reserve(
      RoundUp(shape.num_heads * int64_t{sizeof(int32_t)}, kPackedAlignment) +
      shape.num_heads * int64_t{sizeof(HeadGroup)});
}

absl::Status HeadTable::Set(const AttentionShape& shape) {
  if (kv_head_of_ == shape.kv_head_of && heads_ != nullptr) {
    return absl::OkStatus();
  }
  std::vector<int32_t> heads;
  std::vector<HeadGroup> groups;
  int32_t largest = 1;
  for (int kv_head = 0; kv_head < shape.num_kv_heads; ++kv_head) {
    for (int head = 0; head < shape.num_heads; ++head) {
      if (shape.kv_head_of[head] != kv_head) continue;
      const bool begins = groups.empty() || groups.back().kv_head != kv_head ||
                          groups.back().count == kTileQueries;
      if (begins) groups.push_back({kv_head, Narrow(heads.size()), 0});
      heads.push_back(head);
      largest = std::max(largest, ++groups.back().count);
    }
  }
  Packing packing;
  const size_t heads_at = packing.Add(heads);
  const size_t groups_at = packing.Add(groups);
  heads_ = nullptr;  // until it has worked
  context_.DropGraphs();
  CARAVAN_ASSIGN_OR_RETURN(const std::byte* const table,
                           table_.Upload(packing.bytes()));
  heads_ = reinterpret_cast<const int32_t*>(table + heads_at);
  groups_ = reinterpret_cast<const HeadGroup*>(table + groups_at);
  num_groups_ = static_cast<int>(groups.size());
  largest_ = largest;
  kv_head_of_ = shape.kv_head_of;
  return absl::OkStatus();
}

absl::Status BatchTable::Reserve(const StepLimits& limits, int rows_per_tile) {
  places_ = nullptr;
  const int64_t num_blocks =
      limits.max_sequences * CeilDivide(limits.max_positions, kBlockPositions);
  return table_.Reserve(
      RoundUp(limits.max_rows * int64_t{sizeof(RowPlace)}, kPackedAlignment) +
      MostTiles(limits, rows_per_tile) * int64_t{sizeof(QueryTile)} +
      num_blocks * int64_t{sizeof(int32_t)});
}

absl::Status BatchTable::Set(const Batch& batch, const TileRows& rows) {
  const Content content = Fill(batch, rows);
  if (places_ != nullptr && content.key == key_ &&
      content.blocks == block_key_) {
    return absl::OkStatus();
  }
  return Upload(content);
}

BatchTable::Content BatchTable::Fill(const Batch& batch, const TileRows& rows) {
  Content content;
  content.key = {batch.num_rows};
  for (const BatchSequence& sequence : batch.sequences) {
    const bool is_prompt =
        rows.prompt_rows > 0 && sequence.num_rows >= kLeastPromptRows;
    const int tile_rows = is_prompt ? rows.prompt_rows : rows.rows;
    content.key.insert(content.key.end(),
                       {sequence.first_row, sequence.num_rows,
                        sequence.first_position, is_prompt, tile_rows});
    const int32_t first_block = Narrow(content.blocks.size());
    const int64_t num_blocks = BlocksOf(sequence);
    CARAVAN_CHECK(num_blocks <= static_cast<int64_t>(sequence.blocks.size()));
    content.blocks.insert(content.blocks.end(), sequence.blocks.begin(),
                          sequence.blocks.begin() + num_blocks);
    std::vector<QueryTile>& tiles =
        is_prompt ? content.prompt_tiles : content.tiles;
    for (int64_t row = 0; row < sequence.num_rows; row += tile_rows) {
      tiles.push_back(
          {Narrow(sequence.first_row + row),
           Narrow(std::min<int64_t>(tile_rows, sequence.num_rows - row)),
           Narrow(sequence.first_position + row), first_block});
    }
    for (int64_t row = 0; row < sequence.num_rows; ++row) {
      const int64_t position = sequence.first_position + row;
      content.places.push_back(
          {Narrow(position), sequence.blocks[position / kBlockPositions]});
    }
  }
  const int64_t num_rows = static_cast<int64_t>(content.places.size());
  for (int64_t row = num_rows; row < batch.num_rows; ++row) {
    content.places.push_back({0, kNoBlock});
    content.tiles.push_back({Narrow(row), /*num_rows=*/0, 0, 0});
  }
  return content;
}

absl::Status BatchTable::Upload(const Content& content) {
  Packing packing;
  const size_t places_at = packing.Add(content.places);
  const size_t tiles_at = packing.Add(content.tiles);
  packing.Add(content.prompt_tiles);  // right behind them
  const size_t blocks_at = packing.Add(content.blocks);
  places_ = nullptr;  // until it has worked
  CARAVAN_ASSIGN_OR_RETURN(const std::byte* const table,
                           table_.Upload(packing.bytes()));
  places_ = reinterpret_cast<const RowPlace*>(table + places_at);
  tiles_ = reinterpret_cast<const QueryTile*>(table + tiles_at);
  blocks_ = reinterpret_cast<const int32_t*>(table + blocks_at);
  num_tiles_ = static_cast<int>(content.tiles.size());
  num_prompt_tiles_ = static_cast<int>(content.prompt_tiles.size());
  most_positions_ = 0;
  for (const RowPlace& place : content.places) {
    most_positions_ = std::max(most_positions_, int64_t{place.position} + 1);
  }
  key_ = content.key;
  block_key_ = content.blocks;
  return absl::OkStatus();
}

}  // namespace caravan::worker::cuda
