#include "worker/backend/cpu/paged_kv_cache.h"

#include <cmath>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/kernels.h"

namespace caravan::worker {
namespace {

// Element `index` of a head's block, as float32.
float At(const PagedKvCache& cache, const PagedKvCache::Place& place,
         int64_t index) {
  index += place.block * cache.block_stride();
  const void* head = cache.Head(place.layer, place.kv_head);
  switch (cache.shape().dtype) {
    case DType::kFloat32:
      return static_cast<const float*>(head)[index];
    case DType::kFloat16:
      return Float16ToFloat(static_cast<const uint16_t*>(head)[index]);
    case DType::kBFloat16:
      return BFloat16ToFloat(static_cast<const uint16_t*>(head)[index]);
  }
  return NAN;
}

TEST(PagedKvCacheTest, HoldsNumbersRoundedToNearestEvenWithinTheRange) {
  constexpr int64_t kHeadDim = 6;
  const std::vector<float> numbers = {257, 2049, 0.1f, 70000, -INFINITY, NAN};
  struct Case {
    DType dtype;
    std::vector<float> kept;
  };
  for (const Case& c :
       {Case{DType::kFloat32, {257, 2049, 0.1f, 70000, -INFINITY}},
        Case{DType::kFloat16, {257, 2048, 0x1.998p-4f, 65504, -65504}},
        Case{DType::kBFloat16, {256, 2048, 0x1.9ap-4f, 70144, -INFINITY}}}) {
    SCOPED_TRACE(std::string(Name(c.dtype)));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const auto cache,
                                 PagedKvCache::Create({.num_layers = 2,
                                                       .num_blocks = 3,
                                                       .num_kv_heads = 2,
                                                       .head_dim = kHeadDim,
                                                       .dtype = c.dtype}));
    EXPECT_EQ(cache->bytes(), 2 * 3 * 2 * 16 * (6 + 16) * ByteSize(c.dtype));
    const PagedKvCache::Place place = {
        .layer = 1, .kv_head = 1, .block = 2, .position = 15};
    cache->Write(place, numbers.data(), numbers.data());
    const int64_t values = kHeadDim * 16 + 15 * cpu::PaddedHeadDim(kHeadDim);
    for (int64_t d = 0; d < kHeadDim; ++d) {
      const float key = At(*cache, place, d * 16 + 15);
      const float value = At(*cache, place, values + d);
      if (std::isnan(numbers[d])) {
        EXPECT_TRUE(std::isnan(key) && std::isnan(value));
        continue;
      }
      EXPECT_EQ(key, c.kept[d]);
      EXPECT_EQ(value, c.kept[d]);
      EXPECT_EQ(At(*cache, place, d * 16 + 14), 0) << "its neighbour";
    }
    EXPECT_EQ(At(*cache, place, values + kHeadDim), 0) << "what fills it up";
  }
}

}  // namespace
}  // namespace caravan::worker
