#include "worker/backend/cuda/prompt_attention.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "tests/worker/backend/cuda/device_vector.h"
#include "worker/backend/cuda/cached_number.cuh"

namespace caravan::worker::cuda {
namespace {

// New rows of a sequence.
struct Rows {
  int first_position;
  int num_rows;
};

struct Case {
  int head_dim;
  std::vector<int> group_sizes;  // query heads of each KV head
  std::vector<Rows> sequences;
  int most_rows = kPromptTileQueries;  // of a tile
};

template <typename T>
constexpr KvFormat kFormat =
    std::is_same_v<T, __half> ? KvFormat::kHalf : KvFormat::kBFloat16;
// Of a weight, rounded to nearest.
template <typename T>
constexpr double kRounding = std::is_same_v<T, __half> ? 0x1p-11 : 0x1p-8;

// A batch and a cache of random numbers. What no row sees is NaN.
template <typename T>
class Problem final {
 public:
  explicit Problem(const Case& c) : c_(c) {
    for (const int count : c.group_sizes) {
      groups_.push_back({static_cast<int>(groups_.size()),
                         static_cast<int>(heads_.size()), count});
      for (int i = 0; i < count; ++i) {
        heads_.push_back(static_cast<int>(heads_.size()));
      }
    }
    // Which head is in which group is for the table to say.
    std::reverse(heads_.begin(), heads_.end());
    int num_blocks = 0;
    for (const Rows& rows : c.sequences) {
      first_rows_.push_back(num_rows_);
      num_rows_ += rows.num_rows;
      first_blocks_.push_back(num_blocks);
      num_blocks += (rows.first_position + rows.num_rows + 15) / 16;
    }
    blocks_.resize(num_blocks);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    std::shuffle(blocks_.begin(), blocks_.end(), random_);
    FillCache();
    queries_.resize(num_rows_ * num_heads() * c.head_dim);
    for (float& query : queries_) query = Random() * 2;
  }

  int num_heads() const { return static_cast<int>(heads_.size()); }

  std::vector<float> Run(int most_rows) const {
    const int largest =
        *std::max_element(c_.group_sizes.begin(), c_.group_sizes.end());
    const int rows_per_tile = std::min(most_rows, kPromptTileQueries / largest);
    std::vector<QueryTile> tiles;
    for (size_t i = 0; i < c_.sequences.size(); ++i) {
      const Rows& rows = c_.sequences[i];
      for (int row = 0; row < rows.num_rows; row += rows_per_tile) {
        tiles.push_back({first_rows_[i] + row,
                         std::min(rows_per_tile, rows.num_rows - row),
                         rows.first_position + row, first_blocks_[i]});
      }
    }
    tiles.push_back({num_rows_, 0, 0, 0});  // padding
    const DeviceVector<float> queries(queries_);
    const DeviceVector<float> out(queries_.size());
    const DeviceVector<T> cache(cache_);
    const DeviceVector<int32_t> blocks(blocks_);
    const DeviceVector<QueryTile> device_tiles(tiles);
    const DeviceVector<int32_t> heads(heads_);
    const DeviceVector<HeadGroup> groups(groups_);
    EXPECT_EQ(AttendPrompts({.queries = queries.data(),
                             .out = out.data(),
                             .num_heads = num_heads(),
                             .scale = Scale(),
                             .cache = View(cache.data()),
                             .blocks = blocks.data(),
                             .tiles = device_tiles.data(),
                             .num_tiles = static_cast<int>(tiles.size()),
                             .rows_per_tile = rows_per_tile,
                             .heads = heads.data(),
                             .groups = groups.data(),
                             .num_groups = static_cast<int>(groups_.size())},
                            nullptr),
              cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    return out.Get();
  }

  // Every element in double arithmetic.
  void Check(const std::vector<float>& out) const {
    for (size_t s = 0; s < c_.sequences.size(); ++s) {
      for (int row = 0; row < c_.sequences[s].num_rows; ++row) {
        for (const HeadGroup& group : groups_) {
          for (int i = 0; i < group.count; ++i) {
            CheckHead(out, static_cast<int>(s), row, group,
                      heads_[group.first + i]);
            if (::testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }

 private:
  float Random() {
    return static_cast<float>(random_() >> 8) * 0x1p-23f - 1.0f;
  }
  float Scale() const {
    return 1.0f / std::sqrt(static_cast<float>(c_.head_dim));
  }
  KvLayerView View(T* data) const {
    return {data, static_cast<int>(groups_.size()), c_.head_dim, kFormat<T>};
  }

  void FillCache() {
    const int64_t block_size = View(nullptr).head_size() * groups_.size();
    cache_.assign(blocks_.size() * block_size, FromFloat<T>(NAN));
    for (size_t s = 0; s < c_.sequences.size(); ++s) {
      const Rows& rows = c_.sequences[s];
      for (int p = 0; p < rows.first_position + rows.num_rows; ++p) {
        for (size_t kv = 0; kv < groups_.size(); ++kv) {
          for (int d = 0; d < c_.head_dim; ++d) {
            *Key(s, p, kv, d) = FromFloat<T>(Random());
            *Value(s, p, kv, d) = FromFloat<T>(Random());
          }
        }
      }
    }
  }

  T* BlockOf(size_t sequence, int position, int kv_head) const {
    const int block = blocks_[first_blocks_[sequence] + position / 16];
    return View(const_cast<T*>(cache_.data())).template Keys<T>(block, kv_head);
  }
  T* Key(size_t sequence, int position, int kv_head, int d) const {
    return BlockOf(sequence, position, kv_head) +
           (d / 8 * 16 + position % 16) * 8 + d % 8;
  }
  T* Value(size_t sequence, int position, int kv_head, int d) const {
    return BlockOf(sequence, position, kv_head) + 16 * c_.head_dim +
           position % 16 * c_.head_dim + d;
  }

  void CheckHead(const std::vector<float>& out, int sequence, int row,
                 const HeadGroup& group, int head) const {
    const int64_t offset =
        (int64_t{first_rows_[sequence] + row} * num_heads() + head) *
        c_.head_dim;
    const int seen = c_.sequences[sequence].first_position + row + 1;
    std::vector<double> weights;
    double sum = 0;
    for (int p = 0; p < seen; ++p) {
      double score = 0;
      for (int d = 0; d < c_.head_dim; ++d) {
        score +=
            static_cast<double>(ToFloat(ToCached<T>(queries_[offset + d]))) *
            ToFloat(*Key(sequence, p, group.kv_head, d));
      }
      weights.push_back(std::exp(score * Scale()));
      sum += weights.back();
    }
    for (int d = 0; d < c_.head_dim; ++d) {
      double expected = 0;
      double magnitude = 0;
      for (int p = 0; p < seen; ++p) {
        const double value = ToFloat(*Value(sequence, p, group.kv_head, d));
        expected += weights[p] / sum * value;
        magnitude += weights[p] / sum * std::abs(value);
      }
      ASSERT_NEAR(out[offset + d], expected,
                  2 * kRounding<T> * magnitude + 1e-5)
          << "sequence=" << sequence << " row=" << row << " head=" << head
          << " d=" << d;
    }
  }

  const Case c_;
  std::mt19937 random_{9};
  std::vector<HeadGroup> groups_;
  std::vector<int32_t> heads_;
  std::vector<int> first_rows_;
  std::vector<int> first_blocks_;
  int num_rows_ = 0;
  std::vector<int32_t> blocks_;
  std::vector<T> cache_;
  std::vector<float> queries_;
};

template <typename T>
class PromptAttentionTest : public ::testing::Test {};
using HalfTypes = ::testing::Types<__half, __nv_bfloat16>;
TYPED_TEST_SUITE(PromptAttentionTest, HalfTypes);

TYPED_TEST(PromptAttentionTest, IsSoftmaxOverCachedPositions) {
  const std::vector<Case> cases = {
      // A whole tile; one row more; beginning within a step and a block.
      {64, {1, 1}, {{0, 64}}},
      {64, {1}, {{0, 65}, {13, 17}, {32, 16}}},
      {80, {3, 3}, {{0, 22}, {47, 30}}},
      {128, {8}, {{5, 19}, {64, 8}}},
      // Unequal groups, and one that fills tiles alone.
      {64, {2, 5}, {{31, 33}}},
      {128, {16}, {{1, 5}}},
      {64, {64}, {{3, 2}}},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(::testing::Message()
                 << "head_dim=" << c.head_dim
                 << " groups=" << ::testing::PrintToString(c.group_sizes));
    const Problem<TypeParam> problem(c);
    problem.Check(problem.Run(kPromptTileQueries));
  }
}

TYPED_TEST(PromptAttentionTest, RowsHaveTheSameBitsInAnyTile) {
  const Problem<TypeParam> problem({64, {2}, {{21, 50}}});
  const std::vector<float> expected = problem.Run(32);
  for (const int most_rows : {1, 7, 16, 31}) {
    EXPECT_EQ(problem.Run(most_rows), expected) << most_rows;
  }
}

TEST(PromptAttention, OtherCachesAreLeftToOtherKernels) {
  for (const KvFormat format : {KvFormat::kHalf, KvFormat::kBFloat16}) {
    for (const int head_dim : {64, 80, 128}) {
      EXPECT_TRUE(CanAttendPrompts({nullptr, 1, head_dim, format}));
      EXPECT_FALSE(
          CanAttendPrompts({nullptr, 1, head_dim, KvFormat::kFloat32}));
    }
    for (const int head_dim : {2, 48, 72, 100, 256}) {
      const KvLayerView cache = {nullptr, 1, head_dim, format};
      EXPECT_FALSE(CanAttendPrompts(cache)) << head_dim;
      EXPECT_EQ(AttendPrompts({.cache = cache}, nullptr),
                cudaErrorInvalidValue);
    }
  }
}

}  // namespace
}  // namespace caravan::worker::cuda
