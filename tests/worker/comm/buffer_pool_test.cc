#include "worker/comm/buffer_pool.h"

#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

TEST(BufferPoolTest, BuffersHaveTheirSizeAndAlignment) {
  BufferPool pool;
  for (const int64_t bytes : {0, 1, 1024, 1025, 1 << 20}) {
    const SharedBuffer buffer = pool.Acquire(bytes);
    ASSERT_NE(buffer, nullptr);
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_EQ(buffer->span().size(), static_cast<size_t>(bytes));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
  }
}

TEST(BufferPoolTest, MemoryIsUsedAgainForTheSameClass) {
  BufferPool pool;
  SharedBuffer first = pool.Acquire(5000);
  const SharedBuffer second = pool.Acquire(5000);
  EXPECT_NE(first->data(), second->data());
  const std::byte* const memory = first->data();
  first.reset();
  EXPECT_EQ(pool.Acquire(8192)->data(), memory);
  EXPECT_EQ(pool.Acquire(4097)->data(), memory);
  EXPECT_NE(pool.Acquire(4096)->data(), memory);
}

TEST(BufferPoolTest, CopyHoldsTheData) {
  BufferPool pool;
  const std::vector<std::byte> data = {std::byte{1}, std::byte{2}};
  EXPECT_THAT(pool.Copy(data)->span(), ::testing::ElementsAreArray(data));
  EXPECT_EQ(pool.Copy({})->bytes(), 0);
}

TEST(BufferPoolTest, BuffersOutliveThePool) {
  std::optional<BufferPool> pool(std::in_place);
  SharedBuffer buffer = pool->Copy(std::vector<std::byte>(100, std::byte{7}));
  pool.reset();
  EXPECT_EQ(buffer->data()[99], std::byte{7});
  buffer.reset();
}

TEST(BufferPoolTest, SizesBeyondAMessageAreRefused) {
  BufferPool pool;
  EXPECT_EQ(pool.Acquire(-1), nullptr);
  EXPECT_EQ(pool.Acquire(std::numeric_limits<int64_t>::max()), nullptr);
}

}  // namespace
}  // namespace caravan::worker
