#include "coordinator/cluster/membership.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::IsOk;
using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

v1::AgentHello Hello(const std::string& node,
                     const std::string& incarnation = "a1") {
  v1::AgentHello hello;
  hello.set_token("secret");
  hello.set_build_id("1.0+abc");
  hello.set_node(node);
  hello.set_incarnation(incarnation);
  hello.set_memory_bytes(1 << 30);
  hello.set_data_address("10.0.0.2/24");
  v1::Device* device = hello.add_devices();
  device->set_kind("cpu");
  device->set_num_cores(4);
  return hello;
}

class MembershipTest : public ::testing::Test {
 protected:
  testing::FakeClock clock_;
  Membership membership_{
      {.credentials = {.token = "secret", .build_id = "1.0+abc"}}, &clock_};
};

TEST_F(MembershipTest, NodesAreKnownByNameAndStream) {
  CARAVAN_ASSERT_OK(membership_.Join(7, Hello("node-b")));
  CARAVAN_ASSERT_OK(membership_.Join(5, Hello("node-c")));
  CARAVAN_ASSERT_OK(membership_.Join(9, Hello("node-a")));
  EXPECT_EQ(membership_.FindByStream(5)->name, "node-c");
  EXPECT_EQ(membership_.FindByName("node-b")->stream, 7u);
  EXPECT_EQ(membership_.FindByName("node-d"), nullptr);
  const std::vector<Node> nodes = membership_.nodes();
  ASSERT_THAT(nodes, SizeIs(3));
  EXPECT_EQ(nodes[0].name, "node-a");
  EXPECT_EQ(nodes[2].name, "node-c");
}

TEST_F(MembershipTest, WrongTokenIsRefusedBeforeAnythingElse) {
  v1::AgentHello hello = Hello("node-a");
  hello.set_token("secreT");
  hello.set_build_id("other");
  EXPECT_THAT(membership_.Join(1, hello),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       AllOf(HasSubstr("node-a"), Not(HasSubstr("secret")),
                             Not(HasSubstr("1.0+abc")))));
  hello.set_token("");
  EXPECT_THAT(membership_.Join(1, hello),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(membership_.nodes(), IsEmpty());
}

TEST_F(MembershipTest, WrongBuildNamesNodeAndBothBuilds) {
  v1::AgentHello hello = Hello("node-a");
  hello.set_build_id("1.0+def");
  EXPECT_THAT(
      membership_.Join(1, hello),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               AllOf(HasSubstr("node-a"), HasSubstr("runs build 1.0+def"),
                     HasSubstr("coordinator runs build 1.0+abc"))));
}

TEST_F(MembershipTest, NameOfALiveNodeIsRefused) {
  CARAVAN_ASSERT_OK(membership_.Join(1, Hello("node-a", "first")));
  EXPECT_THAT(membership_.Join(2, Hello("node-a", "second")),
              StatusIs(absl::StatusCode::kAlreadyExists, HasSubstr("node-a")));
  EXPECT_EQ(membership_.FindByName("node-a")->stream, 1u);
}

TEST_F(MembershipTest, TheSameAgentMayComeByANewStream) {
  CARAVAN_ASSERT_OK(membership_.Join(1, Hello("node-a")));
  CARAVAN_ASSERT_OK(membership_.Join(2, Hello("node-a")));
  EXPECT_EQ(membership_.FindByName("node-a")->stream, 2u);
  EXPECT_THAT(membership_.Leave(1, "old stream"), IsEmpty());
  EXPECT_THAT(membership_.Leave(2, "new stream"), SizeIs(1));
}

TEST_F(MembershipTest, LeaseRunsOutWithoutRenewal) {
  CARAVAN_ASSERT_OK(membership_.Join(1, Hello("node-a")));
  CARAVAN_ASSERT_OK(membership_.Join(2, Hello("node-b")));
  EXPECT_EQ(membership_.NextExpiry(), clock_.Now() + absl::Seconds(3));
  clock_.Advance(absl::Seconds(2));
  membership_.Renew(2);
  membership_.Renew(77);  // nobody
  clock_.Advance(absl::Milliseconds(999));
  EXPECT_THAT(membership_.Expire(), IsEmpty());
  clock_.Advance(absl::Milliseconds(1));
  const std::vector<LostNode> lost = membership_.Expire();
  ASSERT_THAT(lost, SizeIs(1));
  EXPECT_EQ(lost[0].node.name, "node-a");
  EXPECT_EQ(lost[0].reason, "no heartbeat of its agent for 3s");
  EXPECT_THAT(membership_.nodes(), SizeIs(1));
  // Its name is free again.
  EXPECT_THAT(membership_.Join(3, Hello("node-a", "second")), IsOk());
}

TEST_F(MembershipTest, HelloWithImpossibleContentIsRefused) {
  v1::AgentHello hello = Hello("");
  EXPECT_THAT(membership_.Join(1, hello),
              StatusIs(absl::StatusCode::kInvalidArgument));
  for (const std::string& name :
       {std::string("a b"), std::string("a\nb"), std::string(254, 'x'),
        std::string("../etc")}) {
    EXPECT_THAT(membership_.Join(1, Hello(name)),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << name;
  }
  hello = Hello("node-a");
  hello.clear_devices();
  EXPECT_THAT(
      membership_.Join(1, hello),
      StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("0 devices")));
  hello = Hello("node-a");
  hello.mutable_devices(0)->set_num_cores(-1);
  EXPECT_THAT(membership_.Join(1, hello),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(membership_.nodes(), IsEmpty());
}

}  // namespace
}  // namespace caravan::coordinator
