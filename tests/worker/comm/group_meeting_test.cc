#include "worker/comm/group_meeting.h"

#include <cstddef>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Bytes = std::vector<std::byte>;

// Rank 1 of its group: keeps what it sends, and receives what it is given.
class ScriptedTransport final : public Transport {
 public:
  explicit ScriptedTransport(GroupOptions options)
      : waiter_(options), size_(static_cast<int>(options.world_ranks.size())) {}

  int rank() const override { return 1; }
  int size() const override { return size_; }
  Waiter& waiter() override { return waiter_; }
  absl::Status Send(Channel, absl::Span<const int> peers,
                    absl::Span<const std::byte> data) override {
    told.assign(peers.begin(), peers.end());
    sent.assign(data.begin(), data.end());
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) override {
    timeout = call.timeout;
    if (!failure.ok()) return failure;
    std::vector<SharedBuffer> messages;
    for (const ExpectedMessage& message : expected) {
      messages.push_back(pool_.Copy(answers[message.peer]));
    }
    return messages;
  }

  std::vector<int> told;
  Bytes sent;
  std::vector<Bytes> answers;  // by rank
  absl::Status failure;
  absl::Duration timeout;

 private:
  Waiter waiter_;
  const int size_;
  BufferPool pool_;
};

GroupOptions Group() { return {.name = "tp0", .world_ranks = {4, 5, 6}}; }

// What a member of `options` tells the others.
Bytes TextOf(const GroupOptions& options) {
  ScriptedTransport transport(options);
  transport.failure = absl::UnavailableError("only what is sent matters");
  EXPECT_FALSE(MeetMembers(transport, absl::Seconds(1)).ok());
  return transport.sent;
}

TEST(GroupMeetingTest, MembersOfOneGroupMeet) {
  ScriptedTransport transport(Group());
  transport.answers.assign(3, TextOf(Group()));
  CARAVAN_EXPECT_OK(MeetMembers(transport, absl::Seconds(7)));
  EXPECT_THAT(transport.told, ElementsAre(0, 2));
  EXPECT_EQ(transport.timeout, absl::Seconds(7));
}

TEST(GroupMeetingTest, WhoMeansAnotherGroupIsNamed) {
  GroupOptions other_name = Group();
  other_name.name = "tp1";
  GroupOptions other_members = Group();
  other_members.world_ranks = {4, 5, 7};
  GroupOptions other_wire = Group();
  other_wire.wire_dtype = DType::kBFloat16;
  for (const GroupOptions& other : {other_name, other_members, other_wire}) {
    ScriptedTransport transport(Group());
    transport.answers.assign(3, TextOf(Group()));
    transport.answers[2] = TextOf(other);
    EXPECT_THAT(MeetMembers(transport, absl::Seconds(1)),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         AllOf(HasSubstr("group=tp0 members=4,5,6"),
                               HasSubstr("rank=1 peer=2"))));
  }
}

TEST(GroupMeetingTest, PassesOnWhatTheTransportSays) {
  ScriptedTransport transport(Group());
  transport.failure = absl::DeadlineExceededError("peer=2 after=1s");
  EXPECT_THAT(
      MeetMembers(transport, absl::Seconds(1)),
      StatusIs(absl::StatusCode::kDeadlineExceeded, HasSubstr("peer=2")));
}

}  // namespace
}  // namespace caravan::worker
