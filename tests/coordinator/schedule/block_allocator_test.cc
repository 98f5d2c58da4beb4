#include "coordinator/schedule/block_allocator.h"

#include <algorithm>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

TEST(BlockAllocatorTest, HandsOutEachBlockOnce) {
  BlockAllocator allocator(3);
  EXPECT_EQ(allocator.num_free(), 3);
  std::vector<int32_t> blocks = {7};  // appended to
  allocator.Allocate(3, &blocks);
  EXPECT_EQ(blocks.front(), 7);
  blocks.erase(blocks.begin());
  EXPECT_THAT(blocks, UnorderedElementsAre(0, 1, 2));
  EXPECT_EQ(allocator.num_free(), 0);
  EXPECT_EQ(allocator.num_used(), 3);
}

TEST(BlockAllocatorTest, ReusesWhatWasFreedLast) {
  BlockAllocator allocator(4);
  std::vector<int32_t> blocks;
  allocator.Allocate(4, &blocks);
  allocator.Free({2});
  allocator.Free({0});
  EXPECT_EQ(allocator.num_used(), 2);
  std::vector<int32_t> again;
  allocator.Allocate(2, &again);
  EXPECT_THAT(again, ElementsAre(0, 2));
}

TEST(BlockAllocatorTest, MayBeEmpty) {
  BlockAllocator allocator(0);
  EXPECT_EQ(allocator.num_blocks(), 0);
  std::vector<int32_t> blocks;
  allocator.Allocate(0, &blocks);
  EXPECT_TRUE(blocks.empty());
}

TEST(BlockAllocatorDeathTest, MisuseIsABug) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  BlockAllocator allocator(2);
  std::vector<int32_t> blocks;
  EXPECT_DEATH(allocator.Allocate(3, &blocks), "CHECK failed");
  allocator.Allocate(1, &blocks);
  EXPECT_DEATH(allocator.Free({blocks[0], blocks[0]}), "CHECK failed");
  EXPECT_DEATH(allocator.Free({5}), "CHECK failed");
}

}  // namespace
}  // namespace caravan::coordinator
