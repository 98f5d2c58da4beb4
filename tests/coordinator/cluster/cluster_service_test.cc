// Whom the services let in.
#include "coordinator/cluster/cluster_service.h"

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "caravan/v1/agent.grpc.pb.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/coordinator/cluster/cluster_fixture.h"

namespace caravan::coordinator {
namespace {

using ::testing::HasSubstr;

class ClusterServiceTest : public ClusterTest {
 protected:
  std::atomic<bool> stranger_is_gone_ = false;
};

TEST_F(ClusterServiceTest, WrongTokenBuildAndNameAreRefusedByCode) {
  Start(1, 1, 9);
  EXPECT_EQ(FakeAgent(cluster_->port(), "a", "wrong").End().error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  const grpc::Status build =
      FakeAgent(cluster_->port(), "a", "secret", "b2").End();
  EXPECT_EQ(build.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(build.error_message(), HasSubstr("node a runs build b2"));
  FakeAgent good(cluster_->port(), "a");
  EXPECT_TRUE(Next(good).has_welcome());
  FakeAgent same(cluster_->port(), "a");  // the same agent again
  EXPECT_TRUE(Next(same).has_welcome());
  EXPECT_EQ(good.End().error_code(), grpc::StatusCode::ABORTED);
  EXPECT_EQ(cluster_->View().nodes.size(), 1u);
}

TEST_F(ClusterServiceTest, ReportsBeforeHelloAndGarbageEndTheStream) {
  Start(1, 1, 1);
  class Silent
      : public Peer<v1::AgentControl, v1::AgentReport, v1::AgentCommand> {
   public:
    using Peer::Peer;
  };
  Silent agent(cluster_->port());
  v1::AgentReport heartbeat;
  heartbeat.mutable_heartbeat();
  agent.Send(heartbeat);
  EXPECT_EQ(agent.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  Silent empty(cluster_->port());
  empty.Send({});
  EXPECT_EQ(empty.End().error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(cluster_->View().nodes, ::testing::IsEmpty());
}

TEST_F(ClusterServiceTest, AStreamWithoutHelloIsEnded) {
  Start(1, 1, 1);
  grpc::ClientContext context;
  const auto stub = v1::EngineControl::NewStub(
      grpc::CreateChannel(absl::StrCat("127.0.0.1:", cluster_->port()),
                          grpc::InsecureChannelCredentials()));
  const auto stream = stub->Attach(&context);
  FakeAgent member(cluster_->port(), "a");
  Next(member);
  std::thread time([this] {
    // The stream may not have been seen yet when the clock first moves.
    while (!stranger_is_gone_) {
      clock_.Advance(absl::Milliseconds(100));
      cluster_->View();
    }
  });
  v1::EngineCommand command;
  EXPECT_FALSE(stream->Read(&command));
  stranger_is_gone_ = true;
  time.join();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ClusterServiceTest, EnginesAreRefusedByTokenBuildEpochAndNode) {
  Start(1, 1, 1);
  FakeAgent a(cluster_->port(), "a");
  Next(a);
  EXPECT_TRUE(Next(a).has_launch_engine());
  const int port = cluster_->port();
  EXPECT_EQ(FakeEngine(port, 1, 0, "a", "wrong").End().error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(FakeEngine(port, 1, 0, "a", "secret", "b2").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 0, 0, "a").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 1, 0, "b").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(FakeEngine(port, 1, 1, "a").End().error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  FakeEngine engine(port, 1, 0, "a");
  EXPECT_TRUE(engine.Next()->has_plan());
}

}  // namespace
}  // namespace caravan::coordinator
