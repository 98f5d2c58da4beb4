#include "coordinator/cluster/relay_router.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::coordinator {
namespace {

v1::RelayRequest Request(uint64_t number, const std::string& target) {
  v1::RelayRequest request;
  request.set_replica(0);
  request.set_epoch(4);
  request.set_request(number);
  request.set_target_node(target);
  request.add_arguments("--daemonize");
  return request;
}

v1::DaemonStarted Started(uint64_t number, int code) {
  v1::DaemonStarted started;
  started.set_epoch(4);
  started.set_request(number);
  started.set_code(code);
  started.set_message(code == 0 ? "" : "no orted here");
  return started;
}

TEST(RelayRouterTest, AnswersFindTheirWayBackWhateverTheNumbers) {
  RelayRouter router;
  const ToAgent first = router.Forward("a", Request(1, "c"));
  const ToAgent second = router.Forward("b", Request(1, "c"));
  EXPECT_EQ(first.node, "c");
  EXPECT_EQ(first.command.start_daemon().epoch(), 4u);
  EXPECT_THAT(first.command.start_daemon().arguments(),
              ::testing::ElementsAre("--daemonize"));
  const uint64_t number = second.command.start_daemon().request();
  ASSERT_NE(first.command.start_daemon().request(), number);

  const ToAgent answer = router.Answer("c", Started(number, 5));
  EXPECT_EQ(answer.node, "b");
  EXPECT_EQ(answer.command.relay_answer().request(), 1u);
  EXPECT_EQ(answer.command.relay_answer().code(), 5);
  EXPECT_EQ(answer.command.relay_answer().message(), "no orted here");
  // Once only.
  EXPECT_EQ(router.Answer("c", Started(number, 0)).node, "");
}

TEST(RelayRouterTest, OnlyTheNodeThatWasAskedMayAnswer) {
  RelayRouter router;
  const ToAgent forward = router.Forward("a", Request(1, "c"));
  const uint64_t number = forward.command.start_daemon().request();
  EXPECT_EQ(router.Answer("b", Started(number, 0)).node, "");
  EXPECT_EQ(router.Answer("c", Started(number, 0)).node, "a");
}

TEST(RelayRouterTest, ClearForgetsWhatIsPending) {
  RelayRouter router;
  const ToAgent forward = router.Forward("a", Request(1, "c"));
  router.Clear();
  EXPECT_EQ(
      router.Answer("c", Started(forward.command.start_daemon().request(), 0))
          .node,
      "");
}

TEST(RelayRouterTest, RefusalsCarryTheReason) {
  const ToAgent refusal = RelayRouter::Refuse(
      "a", Request(7, "z"), absl::NotFoundError("node z is not there"));
  EXPECT_EQ(refusal.node, "a");
  EXPECT_EQ(refusal.command.relay_answer().request(), 7u);
  EXPECT_EQ(refusal.command.relay_answer().code(),
            static_cast<int>(absl::StatusCode::kNotFound));
}

}  // namespace
}  // namespace caravan::coordinator
