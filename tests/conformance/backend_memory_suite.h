// Memory, copies and loading of a Backend.
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_MEMORY_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_MEMORY_SUITE_H_

#include "tests/conformance/backend_fixture.h"

namespace caravan::worker {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

class BackendMemory : public BackendSuite {};

TEST_P(BackendMemory, InfoSaysWhatItIs) {
  const DeviceInfo info = backend_->Info();
  EXPECT_FALSE(info.name.empty());
  EXPECT_FALSE(info.instruction_set.empty());
  EXPECT_GE(info.num_threads, 1);
}

TEST_P(BackendMemory, BuffersBeginWithZeros) {
  for (int64_t count : {1, 1000, 1 << 20}) {
    const DeviceMatrix matrix(*backend_, 1, count);
    const HostMatrix read = matrix.Read();
    EXPECT_THAT(read.values, ::testing::Each(0.0f));
  }
}

TEST_P(BackendMemory, CopiesBothWays) {
  const HostMatrix values = RandomMatrix(7, 11, 1);
  const DeviceMatrix matrix(*backend_, values);
  EXPECT_THAT(matrix.Read(), SameBitsAs(values));
}

TEST_P(BackendMemory, TooMuchIsResourceExhausted) {
  for (int64_t bytes : {int64_t{1} << 45, int64_t{1} << 62}) {
    EXPECT_THAT(backend_->Allocate(bytes),
                StatusIs(absl::StatusCode::kResourceExhausted));
  }
  EXPECT_THAT(backend_->CreateKvCache({.num_layers = 1 << 10,
                                       .num_blocks = 1 << 20,
                                       .num_kv_heads = 64,
                                       .head_dim = 128}),
              StatusIs(absl::StatusCode::kResourceExhausted));
}

TEST_P(BackendMemory, ImpossibleShapesAreInvalid) {
  EXPECT_THAT(backend_->Allocate(-1),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(backend_->CreateKvCache({.num_layers = 1,
                                       .num_blocks = 0,
                                       .num_kv_heads = 1,
                                       .head_dim = 64}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(backend_->CreateKvCache({.num_layers = 1 << 30,
                                       .num_blocks = int64_t{1} << 60,
                                       .num_kv_heads = 1 << 30,
                                       .head_dim = 64}),
              StatusIs(absl::StatusCode::kInvalidArgument));
  HostMatrix nothing;
  EXPECT_THAT(backend_->LoadWeight(ReaderOf(nothing, WeightFormat::kFloat32),
                                   WeightFormat::kFloat32),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST_P(BackendMemory, ReaderErrorsPassOn) {
  const MatrixReader reader = {
      .format = WeightFormat::kFloat32,
      .rows = 100,
      .cols = 100,
      .read_rows = [](int64_t, int64_t, absl::Span<std::byte>) {
        return absl::DataLossError("the file ends early");
      }};
  EXPECT_THAT(backend_->LoadWeight(reader, WeightFormat::kBFloat16),
              StatusIs(absl::StatusCode::kDataLoss, HasSubstr("ends early")));
}

TEST_P(BackendMemory, ReadersAreAskedForEachRowOnce) {
  constexpr int64_t kRows = 5000;
  constexpr int64_t kCols = 700;
  int64_t next = 0;
  int64_t largest = 0;
  const MatrixReader reader = {
      .format = WeightFormat::kFloat32,
      .rows = kRows,
      .cols = kCols,
      .read_rows = [&](int64_t first, int64_t num_rows,
                       absl::Span<std::byte> out) {
        EXPECT_EQ(first, next);
        EXPECT_EQ(static_cast<int64_t>(out.size()),
                  ByteSize(WeightFormat::kFloat32, num_rows * kCols));
        next = first + num_rows;
        largest = std::max(largest, num_rows);
        return absl::OkStatus();
      }};
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto weight, backend_->LoadWeight(reader, WeightFormat::kBFloat16));
  EXPECT_EQ(next, kRows);
  // In pieces: no second copy of the matrix is ever whole.
  EXPECT_LE(largest, kRows / 2);
}

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_MEMORY_SUITE_H_
