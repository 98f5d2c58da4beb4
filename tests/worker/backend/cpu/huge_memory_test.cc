#include "worker/backend/cpu/huge_memory.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;

TEST(HugeMemory, IsZeroedAndAligned) {
  for (Commit commit : {Commit::kNow, Commit::kOnTouch}) {
    for (int64_t bytes : {0, 1, 4096, 4097, 3 << 20}) {
      CARAVAN_ASSERT_OK_AND_ASSIGN(const HugeMemory memory,
                                   HugeMemory::Create(bytes, commit));
      EXPECT_EQ(memory.bytes(), bytes);
      const char* data = static_cast<const char*>(memory.data());
      EXPECT_TRUE(
          std::all_of(data, data + bytes, [](char c) { return c == 0; }));
      const uintptr_t alignment = bytes >= (2 << 20) ? 2 << 20 : 64;
      EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % alignment, 0u);
    }
  }
}

TEST(HugeMemory, MovesOwnership) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(HugeMemory first,
                               HugeMemory::Create(100, Commit::kNow));
  void* const data = first.data();
  HugeMemory second = std::move(first);
  EXPECT_EQ(second.data(), data);
  static_cast<char*>(second.data())[99] = 1;
  CARAVAN_ASSERT_OK_AND_ASSIGN(second, HugeMemory::Create(200, Commit::kNow));
  EXPECT_EQ(second.bytes(), 200);
}

TEST(HugeMemory, RefusesWhatIsNotThere) {
  for (int64_t bytes : {int64_t{1} << 46, int64_t{1} << 62}) {
    EXPECT_THAT(HugeMemory::Create(bytes, Commit::kNow),
                StatusIs(absl::StatusCode::kResourceExhausted,
                         ::testing::HasSubstr("wanted_bytes=")));
  }
  EXPECT_THAT(HugeMemory::Create(-1, Commit::kNow),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace caravan::worker
