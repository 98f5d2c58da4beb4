// What attention must know of a batch and of the heads, as tables on the
// device.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_BATCH_TABLE_H_
#define CARAVAN_WORKER_BACKEND_CUDA_BATCH_TABLE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/backend/backend.h"
#include "worker/backend/batch.h"
#include "worker/backend/cuda/attention.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/kv_layout.h"
#include "worker/backend/cuda/prompt_attention.h"
#include "worker/backend/cuda/staging.h"

namespace caravan::worker::cuda {

// The most tiles that the rows of a step can need.
int64_t MostTiles(const StepLimits& limits, int rows_per_tile);

// Query heads in groups that share a KV head, none larger than kTileQueries.
// Uploaded again only where the shape has changed, which no graph outlives.
class HeadTable final {
 public:
  explicit HeadTable(DeviceContext& context)
      : context_(context), table_(context) {}

  // Room for as many heads. Forgets those that are set.
  absl::Status Reserve(const AttentionShape& shape);
  absl::Status Set(const AttentionShape& shape);
  const int32_t* heads() const { return heads_; }
  const HeadGroup* groups() const { return groups_; }
  int num_groups() const { return num_groups_; }
  // So that a tile's rows times any group's heads are at most kTileQueries, and
  // kPromptTileQueries.
  int rows_per_tile() const { return std::max(1, kTileQueries / largest_); }
  int rows_per_prompt_tile() const {
    return std::max(1, kPromptTileQueries / largest_);
  }

 private:
  DeviceContext& context_;
  DeviceTable table_;
  std::vector<int> kv_head_of_;
  const int32_t* heads_ = nullptr;
  const HeadGroup* groups_ = nullptr;
  int num_groups_ = 0;
  int largest_ = 1;  // group
};

// Rows of a tile at most.
struct TileRows {
  int rows = 1;
  // Of sequences with kLeastPromptRows new rows or more; 0: as of others.
  int prompt_rows = 0;
};

// The rows and blocks of a batch. Uploaded once for all layers of a step: again
// only where the batch has changed. Batches of one row for each sequence have
// their tables at the same addresses, if they are of equally many rows, padding
// included.
class BatchTable final {
 public:
  explicit BatchTable(DeviceContext& context) : table_(context) {}

  // Room for any batch within the limits. Forgets the one that is set.
  absl::Status Reserve(const StepLimits& limits, int rows_per_tile);
  // kResourceExhausted: beyond what was reserved.
  absl::Status Set(const Batch& batch, const TileRows& rows);
  const RowPlace* places() const { return places_; }  // of each row
  const int32_t* blocks() const { return blocks_; }
  const QueryTile* tiles() const { return tiles_; }
  int num_tiles() const { return num_tiles_; }
  const QueryTile* prompt_tiles() const { return tiles_ + num_tiles_; }
  int num_prompt_tiles() const { return num_prompt_tiles_; }
  int64_t most_positions() const { return most_positions_; }

 private:
  struct Content {
    std::vector<QueryTile> tiles;
    std::vector<QueryTile> prompt_tiles;
    std::vector<RowPlace> places;
    std::vector<int32_t> blocks;
    std::vector<int64_t> key;  // all that the batch says but for the blocks
  };
  static Content Fill(const Batch& batch, const TileRows& rows);
  absl::Status Upload(const Content& content);

  DeviceTable table_;
  std::vector<int64_t> key_;
  std::vector<int32_t> block_key_;
  const RowPlace* places_ = nullptr;
  const int32_t* blocks_ = nullptr;
  const QueryTile* tiles_ = nullptr;
  int num_tiles_ = 0;
  int num_prompt_tiles_ = 0;
  int64_t most_positions_ = 0;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_BATCH_TABLE_H_
