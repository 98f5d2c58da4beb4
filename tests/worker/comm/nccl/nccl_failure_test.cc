// What ranks say when one of them stalls, fails or does not come. Those that
// are killed are in nccl_processes_test.py.
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/conformance/communicator_case_support.h"
#include "tests/emulated_device/control.h"
#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/nccl/nccl_test_ranks.h"
#include "worker/backend/cuda/device_memory.h"
#include "worker/backend/cuda/recorded_graph.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using emulated::NcclFault;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kRanks = 3;
constexpr absl::Duration kTimeout = absl::Milliseconds(300);
// Of waits that end for a reason; generous, for machines that do many things.
constexpr absl::Duration kSoon = absl::Seconds(20);

struct Operation {
  const char* name;
  int64_t count;
  absl::Status (*run)(Communicator& group, const Tensor& tensor);
};

absl::Status Reduce(Communicator& group, const Tensor& tensor) {
  return group.AllReduceSum(tensor);
}
// In a ring.
absl::Status SendOn(Communicator& group, const Tensor& tensor) {
  const int size = group.size();
  if (group.rank() == 0) {
    CARAVAN_RETURN_IF_ERROR(group.SendTensor(tensor, 1));
    return group.RecvTensor(tensor, size - 1);
  }
  CARAVAN_RETURN_IF_ERROR(group.RecvTensor(tensor, group.rank() - 1));
  return group.SendTensor(tensor, (group.rank() + 1) % size);
}

absl::Status Gather(Communicator& group, const Tensor& tensor) {
  return group.AllGatherTensor(
      {tensor.data, tensor.dtype, group.size(), tensor.count() / group.size()});
}

// The all-reduce that is one gather, the one by chunks, the gather of tensors,
// and messages.
constexpr Operation kOperations[] = {{"AllReduce", 5000, Reduce},
                                     {"AllReduceByChunks", 100000, Reduce},
                                     {"AllGather", 300, Gather},
                                     {"Messages", 5000, SendOn}};

GroupOptions AllRanks(const NcclTestRank& self, const char* name) {
  GroupOptions options = {.name = name};
  for (int rank = 0; rank < self.world->size(); ++rank) {
    options.world_ranks.push_back(rank);
  }
  return options;
}

absl::StatusOr<std::unique_ptr<Communicator>> MakeGroup(
    NcclTestRank& self, absl::Duration timeout = kTimeout) {
  GroupOptions options = AllRanks(self, "tp0");
  options.timeout = timeout;
  return self.world->CreateGroup(options);
}

// Tells when a rank waits for the device, from when it is armed.
class FirstWait final {
 public:
  // As GroupOptions.on_wait.
  static void OnWait(void* self) {
    auto* const wait = static_cast<FirstWait*>(self);
    if (wait->armed_) wait->Notify();
  }
  void Arm() { armed_ = true; }
  void Notify() {
    if (!begun_.HasBeenNotified()) begun_.Notify();
  }
  void WaitUntilBegun() const { begun_.WaitForNotification(); }

 private:
  bool armed_ = false;  // of the rank's thread
  absl::Notification begun_;
};

// Two operations, with a wait after each; how the second ended, and whether the
// group is broken after that.
absl::Status RunTwice(NcclTestRank& self, const Operation& operation,
                      absl::Duration timeout = kTimeout) {
  CARAVAN_ASSIGN_OR_RETURN(auto group, MakeGroup(self, timeout));
  CARAVAN_ASSIGN_OR_RETURN(
      const cuda::DeviceMemory memory,
      cuda::DeviceMemory::Create(operation.count * sizeof(float)));
  const Tensor tensor = {memory.data(), DType::kFloat32, 1, operation.count};
  for (int round = 0; round < 2; ++round) {
    absl::Status status = operation.run(*group, tensor);
    if (status.ok()) status = self.context->Wait();
    if (status.ok()) continue;
    const absl::Status after = group->AllReduceSum(tensor);
    if (!absl::IsAborted(after)) {
      return absl::InternalError(absl::StrCat("goes on with ", after.ToString(),
                                              " after ", status.ToString()));
    }
    return status;
  }
  return absl::OkStatus();
}

class NcclFailureTest : public ::testing::TestWithParam<Operation> {
 protected:
  void TearDown() override {
    emulated::InjectNcclFault(NcclFault::kNone, 0, 0);
    emulated::SetNcclTransport(emulated::NcclTransport::kPeer);
  }
};

TEST_P(NcclFailureTest, OperationsWork) {
  for (const absl::Status& result :
       RunNcclRanks(kRanks, [](NcclTestRank& self) {
         return RunTwice(self, GetParam(), kSoon);
       })) {
    CARAVAN_EXPECT_OK(result);
  }
}

TEST_P(NcclFailureTest, AGpuThatStandsStillEndsTheWaitsOfAll) {
  emulated::InjectNcclFault(NcclFault::kStall, 1, 1);
  const absl::Time begin = absl::Now();
  const auto results = RunNcclRanks(
      kRanks, [](NcclTestRank& self) { return RunTwice(self, GetParam()); });
  EXPECT_LT(absl::Now() - begin, kSoon);
  for (const absl::Status& result : results) {
    EXPECT_THAT(result, StatusIs(absl::StatusCode::kDeadlineExceeded,
                                 HasSubstr("timed out: group=tp0 peer=")));
  }
}

TEST_P(NcclFailureTest, AnErrorOfNcclIsTold) {
  emulated::InjectNcclFault(NcclFault::kAsyncError, 1, 1);
  const absl::Time begin = absl::Now();
  const auto results = RunNcclRanks(
      kRanks, [](NcclTestRank& self) { return RunTwice(self, GetParam()); });
  EXPECT_LT(absl::Now() - begin, kSoon);
  EXPECT_THAT(results[1], StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("group=tp0")));
  // That rank's world is gone with it, which the others see.
  for (const int other : {0, 2}) EXPECT_FALSE(results[other].ok());
}

TEST_P(NcclFailureTest, ARankThatLeavesIsNamed) {
  const absl::Time begin = absl::Now();
  const auto results = RunNcclRanks(kRanks, [](NcclTestRank& self) {
    if (self.world->rank() != 2) return RunTwice(self, GetParam());
    return MakeGroup(self).status();  // and goes
  });
  EXPECT_LT(absl::Now() - begin, kSoon);
  CARAVAN_EXPECT_OK(results[2]);
  // Whoever notices it first ends as well, and may be what the other notices.
  for (const int other : {0, 1}) {
    EXPECT_THAT(results[other], StatusIs(absl::StatusCode::kUnavailable,
                                         HasSubstr("failed: group=tp0 peer=")));
  }
  EXPECT_THAT(absl::StrCat(results[0].ToString(), results[1].ToString()),
              HasSubstr("peer=2: "));
}

TEST_P(NcclFailureTest, AnAbortRefusesLaterCalls) {
  const auto results = RunNcclRanks(kRanks, [](NcclTestRank& self) {
    CARAVAN_ASSIGN_OR_RETURN(
        auto control, self.world->CreateGroup(AllRanks(self, "control")));
    absl::Status status;
    if (self.world->rank() == 0) {
      CARAVAN_ASSIGN_OR_RETURN(auto group, MakeGroup(self));
      CARAVAN_ASSIGN_OR_RETURN(
          const cuda::DeviceMemory memory,
          cuda::DeviceMemory::Create(GetParam().count * sizeof(float)));
      group->Abort(absl::UnavailableError("the coordinator said so"));
      status = group->AllReduceSum(
          {memory.data(), DType::kFloat32, 1, GetParam().count});
    } else {
      CARAVAN_ASSIGN_OR_RETURN(auto group, MakeGroup(self));
    }
    CARAVAN_RETURN_IF_ERROR(testing::Barrier(*control));
    return status;
  });
  EXPECT_THAT(results[0], StatusIs(absl::StatusCode::kAborted,
                                   HasSubstr("the coordinator said so")));
}

TEST_P(NcclFailureTest, AnAbortEndsAWaitForTheDevice) {
  const absl::Time begin = absl::Now();
  const auto results = RunNcclRanks(kRanks, [](NcclTestRank& self) {
    FirstWait wait;
    CARAVAN_ASSIGN_OR_RETURN(
        auto control, self.world->CreateGroup(AllRanks(self, "control")));
    GroupOptions options = AllRanks(self, "tp0");
    options.timeout = 2 * kSoon;
    options.on_wait = &FirstWait::OnWait;
    options.on_wait_context = &wait;
    CARAVAN_ASSIGN_OR_RETURN(auto group, self.world->CreateGroup(options));
    absl::Status status;
    if (self.world->rank() == 0) {  // the others do not take part
      CARAVAN_ASSIGN_OR_RETURN(
          const cuda::DeviceMemory memory,
          cuda::DeviceMemory::Create(GetParam().count * sizeof(float)));
      wait.Arm();
      std::thread aborter([&] {
        wait.WaitUntilBegun();
        group->Abort(absl::UnavailableError("the coordinator said so"));
      });
      status = GetParam().run(
          *group, {memory.data(), DType::kFloat32, 1, GetParam().count});
      if (status.ok()) status = self.context->Wait();
      wait.Notify();
      aborter.join();
    }
    CARAVAN_RETURN_IF_ERROR(testing::Barrier(*control));
    return status;
  });
  EXPECT_LT(absl::Now() - begin, kSoon);
  EXPECT_THAT(results[0], StatusIs(absl::StatusCode::kAborted,
                                   HasSubstr("the coordinator said so")));
}

INSTANTIATE_TEST_SUITE_P(Operations, NcclFailureTest,
                         ::testing::ValuesIn(kOperations),
                         [](const auto& info) { return info.param.name; });

// Holds one graph, as a backend holds those of its steps.
class OneGraph final : public cuda::GraphHolder {
 public:
  void DropGraphs() override { graph.reset(); }
  std::unique_ptr<cuda::RecordedGraph> graph;
};

// An all-reduce, then the same from a graph; how that ended. The graph is gone
// before the group is.
absl::Status ReduceInGraph(NcclTestRank& self) {
  CARAVAN_ASSIGN_OR_RETURN(
      auto group, self.world->CreateGroup({.name = "tp0",
                                           .world_ranks = {0, 1, 2},
                                           .timeout = absl::Seconds(2)}));
  CARAVAN_ASSIGN_OR_RETURN(const cuda::DeviceMemory memory,
                           cuda::DeviceMemory::Create(100 * sizeof(float)));
  const Tensor tensor = {memory.data(), DType::kFloat32, 1, 100};
  CARAVAN_RETURN_IF_ERROR(group->AllReduceSum(tensor));
  CARAVAN_RETURN_IF_ERROR(self.context->Wait());
  OneGraph holder;
  CARAVAN_ASSIGN_OR_RETURN(holder.graph,
                           cuda::RecordedGraph::Record(*self.context, [&] {
                             return group->AllReduceSum(tensor);
                           }));
  self.context->SetGraphHolder(&holder);
  CARAVAN_RETURN_IF_ERROR(holder.graph->Launch());
  const absl::Status status = self.context->Wait();
  const bool broken = !status.ok();
  if (broken != (holder.graph == nullptr)) {
    return absl::InternalError(
        "a broken group's graph is there, or a whole "
        "one's is not");
  }
  group.reset();
  self.context->SetGraphHolder(nullptr);
  if (holder.graph != nullptr) {
    return absl::InternalError("a graph outlives its group");
  }
  return status;
}

TEST(NcclGraphs, AreDroppedBeforeTheGroupEnds) {
  ::testing::internal::CaptureStderr();
  const auto results = RunNcclRanks(kRanks, ReduceInGraph);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              Not(HasSubstr("does not abort")));
  for (const absl::Status& result : results) CARAVAN_EXPECT_OK(result);
}

TEST(NcclGraphs, AreDroppedBeforeABrokenGroupAborts) {
  emulated::InjectNcclFault(NcclFault::kStall, 1, 1);
  ::testing::internal::CaptureStderr();
  const auto results = RunNcclRanks(kRanks, ReduceInGraph);
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              Not(HasSubstr("does not abort")));
  emulated::InjectNcclFault(NcclFault::kNone, 0, 0);
  for (const absl::Status& result : results) {
    EXPECT_THAT(result,
                StatusIs(absl::StatusCode::kDeadlineExceeded,
                         HasSubstr("all-reduce timed out: group=tp0 peer=")));
  }
}

TEST(NcclEnvironment, IsTheUsersWhereTheySaySo) {
  unsetenv("NCCL_GRAPH_REGISTER");
  SetNcclEnvironment();
  EXPECT_STREQ(std::getenv("NCCL_GRAPH_REGISTER"), "0");
  setenv("NCCL_GRAPH_REGISTER", "1", /*overwrite=*/1);
  SetNcclEnvironment();
  EXPECT_STREQ(std::getenv("NCCL_GRAPH_REGISTER"), "1");
  unsetenv("NCCL_GRAPH_REGISTER");
}

TEST(NcclJoin, ARankThatCannotJoinIsTold) {
  emulated::InjectNcclFault(NcclFault::kInitError, 1, 0);
  const auto results = RunNcclRanks(
      kRanks, [](NcclTestRank& self) { return MakeGroup(self).status(); });
  emulated::InjectNcclFault(NcclFault::kNone, 0, 0);
  EXPECT_THAT(results[1], StatusIs(absl::StatusCode::kFailedPrecondition,
                                   HasSubstr("joining NCCL failed")));
}

TEST(NcclJoin, WaitsForOthersNoLongerThanItIsTold) {
  const auto results = RunNcclRanks(
      2,
      [](NcclTestRank& self) -> absl::Status {
        GroupOptions options = {.name = "tp0", .world_ranks = {0, 1}};
        if (self.world->rank() == 0) {
          return self.world->CreateGroup(options).status();
        }
        // Comes to meet, as to another group.
        options.name = "tp1";
        return self.world->CreateGroup(options).status();
      },
      absl::Milliseconds(300));
  for (const absl::Status& result : results) EXPECT_FALSE(result.ok());
}

}  // namespace
}  // namespace caravan::worker
