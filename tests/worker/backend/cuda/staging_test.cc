#include "worker/backend/cuda/staging.h"

#include <cstring>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker::cuda {
namespace {

class StagingTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CARAVAN_ASSERT_OK_AND_ASSIGN(context_, DeviceContext::Create({}));
  }
  std::vector<int> Read(const int* device, size_t count) {
    std::vector<int> values(count);
    EXPECT_EQ(cudaMemcpyAsync(values.data(), device, count * sizeof(int),
                              cudaMemcpyDeviceToHost, context_->stream()),
              cudaSuccess);
    CARAVAN_EXPECT_OK(context_->Wait());
    return values;
  }

  std::unique_ptr<DeviceContext> context_;
};

TEST_F(StagingTest, BringsBytesThereAndBack) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto staging,
                               StagingBuffer::Create(*context_, 8));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const DeviceMemory memory,
                               DeviceMemory::Create(8));
  for (int i = 0; i < 3; ++i) {
    const int values[2] = {i, i + 100};
    CARAVAN_ASSERT_OK_AND_ASSIGN(std::byte* const to, staging->Free());
    std::memcpy(to, values, sizeof(values));
    CARAVAN_ASSERT_OK(staging->CopyTo(memory.data(), sizeof(values)));
    CARAVAN_ASSERT_OK_AND_ASSIGN(std::byte* const again, staging->Free());
    std::memset(again, 0xff, sizeof(values));
    CARAVAN_ASSERT_OK(staging->CopyFrom(memory.data(), sizeof(values)));
    EXPECT_EQ(std::memcmp(again, values, sizeof(values)), 0);
  }
}

TEST_F(StagingTest, CopiesFromTheDeviceRunBesideTheHost) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto staging,
                               StagingBuffer::Create(*context_, 8));
  EXPECT_FALSE(staging->HasToWait());
  DeviceTable table(*context_);
  CARAVAN_ASSERT_OK(table.Reserve(8));
  const std::vector<int> values = {3, 4};
  CARAVAN_ASSERT_OK_AND_ASSIGN(const int* const device,
                               table.UploadArray(absl::MakeConstSpan(values)));
  CARAVAN_ASSERT_OK(staging->EnqueueCopyFrom(device, 8));
  CARAVAN_ASSERT_OK(staging->EnqueueCopyFrom(device + 1, 4));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::byte* const read, staging->Free());
  EXPECT_FALSE(staging->HasToWait());
  const int expected[2] = {4, 4};
  EXPECT_EQ(std::memcmp(read, expected, sizeof(expected)), 0);
}

TEST_F(StagingTest, MemoryIsOfItsSizeOrRefused) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const DeviceMemory memory,
                               DeviceMemory::Create(100));
  EXPECT_EQ(memory.bytes(), 100);
  EXPECT_THAT(DeviceMemory::Create(-1),
              testing::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PinnedMemory::Create(-1),
              testing::StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(DeviceMemory::Create(int64_t{1} << 50),
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
}

// Versions follow one another in the stream: each is what work enqueued after
// it sees, though the host has gone on.
TEST_F(StagingTest, TablesKeepTheirVersions) {
  DeviceTable table(*context_);
  CARAVAN_ASSERT_OK(table.Reserve(sizeof(int)));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const DeviceMemory seen,
                               DeviceMemory::Create(10 * sizeof(int)));
  for (int i = 0; i < 10; ++i) {
    const std::vector<int> values = {i * 7};
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const int* const uploaded,
        table.UploadArray(absl::MakeConstSpan(values)));
    ASSERT_EQ(cudaMemcpyAsync(seen.As<int>() + i, uploaded, sizeof(int),
                              cudaMemcpyDeviceToDevice, context_->stream()),
              cudaSuccess);
  }
  EXPECT_EQ(Read(seen.As<int>(), 10),
            (std::vector<int>{0, 7, 14, 21, 28, 35, 42, 49, 56, 63}));
}

// What is there is not brought again: not at all while recording.
TEST_F(StagingTest, TablesThatAreMadeAsTheyWereStay) {
  DeviceTable table(*context_);
  CARAVAN_ASSERT_OK(table.Reserve(3 * sizeof(int)));
  const auto upload = [&table](const std::vector<int>& values) {
    return table.UploadArray(absl::MakeConstSpan(values));
  };
  const auto copies = [&](const std::vector<int>& values) {
    const int64_t before = emulated::EnqueueCallsMade(0).operations;
    CARAVAN_EXPECT_OK(upload(values));
    return emulated::EnqueueCallsMade(0).operations - before;
  };
  EXPECT_EQ(copies({1, 2, 3}), 1);
  EXPECT_EQ(copies({1, 2, 3}), 0);
  EXPECT_EQ(copies({1, 2}), 0);  // the others are still behind them
  EXPECT_EQ(copies({1, 2, 3}), 0);
  EXPECT_EQ(copies({1, 3}), 1);
  EXPECT_EQ(copies({1, 3, 3}), 1);
  context_->SetRecording(true);
  EXPECT_EQ(copies({1, 3, 3}), 0);
  EXPECT_THAT(upload({1, 2, 3}),
              testing::StatusIs(absl::StatusCode::kFailedPrecondition));
  context_->SetRecording(false);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const int* const held, upload({1, 3, 3}));
  EXPECT_EQ(Read(held, 3), (std::vector<int>{1, 3, 3}));
  CARAVAN_ASSERT_OK(table.Reserve(4 * sizeof(int)));  // and all is lost
  EXPECT_EQ(copies({1, 3, 3}), 1);
}

TEST_F(StagingTest, TablesHaveTheRoomThatWasReserved) {
  DeviceTable table(*context_);
  const auto upload = [&table](size_t count) {
    std::vector<int> values(count);
    for (size_t i = 0; i < count; ++i) values[i] = static_cast<int>(i * 3);
    return std::pair(values, table.UploadArray(absl::MakeConstSpan(values)));
  };
  CARAVAN_EXPECT_OK(upload(0).second);
  EXPECT_THAT(upload(1).second,
              testing::StatusIs(absl::StatusCode::kResourceExhausted,
                                ::testing::HasSubstr("bytes=4 reserved=0")));
  for (const size_t room : {1, 1025, 3}) {
    CARAVAN_ASSERT_OK(table.Reserve(room * sizeof(int)));
    const emulated::MemoryCalls before = emulated::MemoryCallsMade();
    for (size_t count = 0; count <= room; count += 1 + room / 5) {
      const auto& [values, uploaded] = upload(count);
      CARAVAN_ASSERT_OK(uploaded);
      if (count > 0) {
        EXPECT_EQ(Read(*uploaded, count), values);
      }
    }
    EXPECT_EQ(emulated::MemoryCallsMade(), before);
  }
  // The largest room stays.
  CARAVAN_EXPECT_OK(upload(1025).second);
  EXPECT_THAT(upload(1026).second,
              testing::StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace caravan::worker::cuda
