#include "worker/engine/control_client.h"

#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "caravan/v1/engine.grpc.pb.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

constexpr absl::Duration kPatience = absl::Seconds(20);

// A coordinator with one stream: answers each report with a step of its
// number, and ends the stream after the report numbered `last` with `end`.
class Coordinator final : public v1::EngineControl::Service {
 public:
  explicit Coordinator(uint64_t last,
                       grpc::StatusCode end = grpc::StatusCode::ABORTED)
      : last_(last), end_(end) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(),
                             &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }
  ~Coordinator() override {
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

  std::vector<uint64_t> received() {
    absl::MutexLock lock(&mutex_);
    return received_;
  }

  grpc::Status Attach(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<v1::EngineCommand, v1::EngineReport>* stream)
      override {
    v1::EngineReport report;
    while (stream->Read(&report)) {
      const uint64_t number = report.step_result().number();
      {
        absl::MutexLock lock(&mutex_);
        received_.push_back(number);
      }
      if (number == last_) return {end_, "enough"};
      v1::EngineCommand command;
      command.mutable_step()->set_number(number);
      stream->Write(command);
    }
    return grpc::Status::OK;
  }

 private:
  const uint64_t last_;
  const grpc::StatusCode end_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  absl::Mutex mutex_;
  std::vector<uint64_t> received_ ABSL_GUARDED_BY(mutex_);
};

v1::EngineReport Report(uint64_t number) {
  v1::EngineReport report;
  report.mutable_step_result()->set_number(number);
  return report;
}

TEST(ControlClientTest, KeepsTheOrderBothWays) {
  Coordinator coordinator(/*last=*/0);
  ControlClient client(coordinator.address());
  std::vector<uint64_t> sent;
  for (uint64_t number = 1; number <= 200; ++number) {
    client.Send(Report(number));
    sent.push_back(number);
  }
  for (const uint64_t number : sent) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EngineCommand command,
                                 client.Next(absl::Now() + kPatience));
    EXPECT_EQ(command.step().number(), number);
  }
  client.Flush(kPatience);
  EXPECT_THAT(coordinator.received(), ElementsAreArray(sent));
  EXPECT_THAT(client.Next(absl::Now()),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
}

TEST(ControlClientTest, TheEndOfTheEpochIsNoFailure) {
  Coordinator coordinator(/*last=*/2);
  ControlClient client(coordinator.address());
  client.Send(Report(1));
  client.Send(Report(2));
  // What came before the end is still had.
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EngineCommand command,
                               client.Next(absl::Now() + kPatience));
  EXPECT_EQ(command.step().number(), 1u);
  EXPECT_THAT(client.Next(absl::Now() + kPatience),
              StatusIs(absl::StatusCode::kAborted, HasSubstr("enough")));
  client.Send(Report(3));
  client.Flush(kPatience);
  EXPECT_THAT(coordinator.received(), ElementsAreArray({1u, 2u}));
}

TEST(ControlClientTest, SaysWhyTheStreamEnded) {
  Coordinator coordinator(/*last=*/1, grpc::StatusCode::PERMISSION_DENIED);
  ControlClient client(coordinator.address());
  client.Send(Report(1));
  EXPECT_THAT(client.Next(absl::Now() + kPatience),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("the coordinator's stream ended: enough")));
}

TEST(ControlClientTest, SaysWhenNobodyListens) {
  std::string address;
  {
    address = Coordinator(/*last=*/0).address();
  }
  ControlClient client(address);
  client.Send(Report(1));
  EXPECT_THAT(client.Next(absl::Now() + kPatience),
              StatusIs(absl::StatusCode::kUnavailable));
}

TEST(ControlClientTest, EndsWithReportsUnsent) {
  Coordinator coordinator(/*last=*/0);
  for (int i = 0; i < 20; ++i) {
    ControlClient client(coordinator.address());
    for (uint64_t number = 1; number <= 20; ++number) {
      client.Send(Report(number));
    }
  }
}

}  // namespace
}  // namespace caravan::worker
