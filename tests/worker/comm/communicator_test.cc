#include "worker/comm/communicator.h"

#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Rank 1 of 3; notes what passes the checks and answers as told.
class NotingCommunicator final : public Communicator {
 public:
  int rank() const override { return 1; }
  int size() const override { return 3; }
  void Abort(const absl::Status&) override {}
  bool waits_for_peers() const override { return true; }

  std::vector<std::string> calls;
  absl::Status answer;

 private:
  absl::Status DoAllReduceSum(absl::Span<float> inout) override {
    return Note("reduce", inout.size());
  }
  absl::Status DoAllGather(absl::Span<const std::byte> mine,
                           absl::Span<std::byte>) override {
    return Note("gather", mine.size());
  }
  absl::Status DoSend(absl::Span<const std::byte> data, int) override {
    return Note("send", data.size());
  }
  absl::Status DoRecv(absl::Span<std::byte> out, int) override {
    return Note("receive", out.size());
  }
  absl::Status DoSendTensor(const Tensor& tensor, int) override {
    return Note("send tensor", tensor.count());
  }
  absl::Status DoRecvTensor(const Tensor& tensor, int) override {
    return Note("receive tensor", tensor.count());
  }
  absl::Status DoAllGatherTensor(const Tensor& parts) override {
    return Note("gather tensor", parts.count());
  }
  absl::Status Note(const std::string& call, size_t size) {
    calls.push_back(call + " " + std::to_string(size));
    return answer;
  }
};

TEST(CommunicatorTest, PassesOnWhatIsRight) {
  NotingCommunicator group;
  float values[6] = {};
  std::byte bytes[6] = {};
  const absl::Span<std::byte> span(bytes);
  CARAVAN_EXPECT_OK(group.AllReduceSum({values, DType::kFloat32, 2, 3}));
  CARAVAN_EXPECT_OK(group.AllReduceSum({nullptr, DType::kFloat32, 0, 3}));
  CARAVAN_EXPECT_OK(group.AllGather(span.subspan(0, 2), span));
  CARAVAN_EXPECT_OK(group.Send(span, 0));
  CARAVAN_EXPECT_OK(group.Recv({}, 2));
  CARAVAN_EXPECT_OK(group.SendTensor({values, DType::kFloat32, 2, 3}, 0));
  CARAVAN_EXPECT_OK(group.RecvTensor({bytes, DType::kBFloat16, 1, 3}, 2));
  CARAVAN_EXPECT_OK(group.AllGatherTensor({values, DType::kFloat32, 3, 2}));
  EXPECT_THAT(group.calls, ElementsAre("reduce 6", "reduce 0", "gather 2",
                                       "send 6", "receive 0", "send tensor 6",
                                       "receive tensor 3", "gather tensor 6"));
}

TEST(CommunicatorTest, AnErrorBreaksTheGroup) {
  NotingCommunicator group;
  group.answer = absl::DeadlineExceededError("send timed out: peer=2");
  EXPECT_THAT(group.Send({}, 2), StatusIs(absl::StatusCode::kDeadlineExceeded));
  group.answer = absl::OkStatus();
  const auto broken =
      StatusIs(absl::StatusCode::kAborted, HasSubstr("send timed out: peer=2"));
  EXPECT_THAT(group.Send({}, 2), broken);
  EXPECT_THAT(group.Recv({}, 7), broken);
  EXPECT_THAT(group.AllReduceSum({}), broken);
  EXPECT_THAT(group.AllGather({}, {}), broken);
  EXPECT_THAT(group.SendTensor({}, 0), broken);
  EXPECT_THAT(group.RecvTensor({}, 0), broken);
  EXPECT_THAT(group.AllGatherTensor({}), broken);
  EXPECT_THAT(group.calls, ElementsAre("send 0"));
}

TEST(CommunicatorTest, MessagesBeyondMpisCountsAreRefused) {
  NotingCommunicator group;
  std::byte byte{};
  const size_t bytes = size_t{1} << 31;
  EXPECT_THAT(group.Send({&byte, bytes}, 0),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       HasSubstr("bytes=2147483648")));
  EXPECT_THAT(group.calls, ElementsAre());
}

TEST(CommunicatorTest, TensorsThatCannotBeAreRefused) {
  float values[6] = {};
  for (const Tensor& tensor :
       {Tensor{nullptr, DType::kFloat32, 2, 3},
        Tensor{values, DType::kFloat32, -1, 3},
        Tensor{values, DType::kBFloat16, int64_t{1} << 40, 1 << 20}}) {
    EXPECT_THAT(NotingCommunicator().SendTensor(tensor, 0),
                StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(NotingCommunicator().RecvTensor(tensor, 0),
                StatusIs(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(NotingCommunicator().AllGatherTensor(tensor),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
  EXPECT_THAT(
      NotingCommunicator().AllGatherTensor({values, DType::kFloat32, 2, 3}),
      StatusIs(absl::StatusCode::kInvalidArgument,
               HasSubstr("unequal parts: rows=2 ranks=3")));
  EXPECT_THAT(
      NotingCommunicator().SendTensor({}, 1),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("no such peer")));
}

}  // namespace
}  // namespace caravan::worker
