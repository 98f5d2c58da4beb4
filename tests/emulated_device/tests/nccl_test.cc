// Emulated NCCL: ranks as threads and as processes; what it computes, and what
// it does when something goes wrong.
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulated_device/nccl/nccl_control.h"
#include "tests/emulated_device/tests/device_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;
constexpr auto kPause = std::chrono::microseconds(50);
constexpr auto kDeadline = std::chrono::seconds(20);
constexpr auto kLongEnough = std::chrono::milliseconds(20);

// Polls; whether it became true before the time was up.
bool Becomes(const std::function<bool()>& condition,
             std::chrono::steady_clock::duration time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

ncclUniqueId NewId() {
  ncclUniqueId id;
  EXPECT_EQ(ncclGetUniqueId(&id), ncclSuccess);
  return id;
}

// What a rank has: its device is current, its communicator ready.
struct Rank {
  int rank = 0;
  int size = 0;
  ncclComm_t communicator = nullptr;
  cudaStream_t stream = nullptr;

  ncclResult_t State() const {
    ncclResult_t state = ncclInternalError;
    ncclCommGetAsyncError(communicator, &state);
    return state;
  }
  bool IsDone() const { return cudaStreamQuery(stream) != cudaErrorNotReady; }
  bool Finishes() const {
    return Becomes([this] { return IsDone(); }, kDeadline);
  }
  bool StaysBusy() const {
    return !Becomes([this] { return IsDone(); }, kLongEnough);
  }
};

void RunRank(int rank, int size, const ncclUniqueId& id,
             const std::function<void(Rank&)>& body) {
  cudaSetDevice(rank);
  Rank self = {.rank = rank, .size = size};
  ASSERT_EQ(ncclCommInitRank(&self.communicator, size, id, rank), ncclSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking),
            cudaSuccess);
  body(self);
  cudaStreamDestroy(self.stream);
}

class NcclTest : public DeviceTest {
 protected:
  void SetUp() override {
    SetNcclTransport(NcclTransport::kPeer);
    InjectNcclFault(NcclFault::kNone, 0, 0);
    DeviceTest::SetUp();
  }
  void TearDown() override {
    for (int device = 3; device >= 0; --device) {
      cudaSetDevice(device);
      cudaDeviceReset();
    }
    DeviceTest::TearDown();
  }
  void RunThreads(int size, const std::function<void(Rank&)>& body) {
    const ncclUniqueId id = NewId();
    std::vector<std::thread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([=] { RunRank(rank, size, id, body); });
    }
    for (std::thread& thread : threads) thread.join();
  }
};

// Rank r's value i.
float Value(int rank, size_t i) {
  return static_cast<float>(rank + 1) * static_cast<float>(i % 100);
}
std::vector<float> Values(int rank, size_t count) {
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) values[i] = Value(rank, i);
  return values;
}

TEST_F(NcclTest, ComputesCollectives) {
  for (const int size : {1, 2, 3, 4}) {
    for (const size_t count : {size_t{1}, size_t{5}, size_t{40000}}) {
      RunThreads(size, [count](Rank& self) {
        const auto n = static_cast<size_t>(self.size);
        const DeviceVector<float> mine(Values(self.rank, count));
        const DeviceVector<float> sum(count), gathered(count * n);
        const DeviceVector<float> sent(count);
        ASSERT_EQ(ncclAllReduce(mine.data(), sum.data(), count, ncclFloat32,
                                ncclSum, self.communicator, self.stream),
                  ncclSuccess);
        ASSERT_EQ(ncclAllGather(mine.data(), gathered.data(), count,
                                ncclFloat32, self.communicator, self.stream),
                  ncclSuccess);
        ASSERT_EQ(ncclBroadcast(mine.data(), sent.data(), count, ncclFloat32,
                                self.size - 1, self.communicator, self.stream),
                  ncclSuccess);
        ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
        const std::vector<float> s = sum.Get(), g = gathered.Get();
        const float factor =
            static_cast<float>(self.size * (self.size + 1)) / 2;
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(s[i], factor * Value(0, i));
        }
        for (size_t i = 0; i < count * n; ++i) {
          ASSERT_EQ(g[i], Value(static_cast<int>(i / count), i % count));
        }
        EXPECT_EQ(sent.Get(), Values(self.size - 1, count));
        const DeviceVector<float> part(count);
        ASSERT_EQ(
            ncclReduceScatter(gathered.data(), part.data(), count, ncclFloat32,
                              ncclMax, self.communicator, self.stream),
            ncclSuccess);
        ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
        EXPECT_EQ(part.Get(), Values(self.rank, count));
        EXPECT_EQ(ncclCommDestroy(self.communicator), ncclSuccess);
      });
    }
  }
}

TEST_F(NcclTest, PassesMessagesAroundARing) {
  RunThreads(3, [](Rank& self) {
    constexpr size_t kCount = 40000;
    const DeviceVector<float> mine(Values(self.rank, kCount)), got(kCount);
    const int next = (self.rank + 1) % 3, previous = (self.rank + 2) % 3;
    ASSERT_EQ(ncclGroupStart(), ncclSuccess);
    ASSERT_EQ(ncclSend(mine.data(), kCount, ncclFloat32, next,
                       self.communicator, self.stream),
              ncclSuccess);
    ASSERT_EQ(ncclRecv(got.data(), kCount, ncclFloat32, previous,
                       self.communicator, self.stream),
              ncclSuccess);
    ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
    ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
    EXPECT_EQ(got.Get(), Values(previous, kCount));
    ncclCommDestroy(self.communicator);
  });
}

TEST_F(NcclTest, OneThreadDrivesSeveralRanksInAGroup) {
  constexpr int kSize = 3;
  const ncclUniqueId id = NewId();
  ncclComm_t communicators[kSize];
  cudaStream_t streams[kSize];
  std::vector<std::unique_ptr<DeviceVector<float>>> values;
  ncclGroupStart();
  for (int rank = 0; rank < kSize; ++rank) {
    cudaSetDevice(rank);
    ASSERT_EQ(ncclCommInitRank(&communicators[rank], kSize, id, rank),
              ncclSuccess);
    values.push_back(std::make_unique<DeviceVector<float>>(Values(rank, 10)));
    cudaStreamCreateWithFlags(&streams[rank], cudaStreamNonBlocking);
  }
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  ncclGroupStart();
  for (int rank = 0; rank < kSize; ++rank) {
    float* data = values[rank]->data();
    ASSERT_EQ(ncclAllReduce(data, data, 10, ncclFloat32, ncclSum,
                            communicators[rank], streams[rank]),
              ncclSuccess);
  }
  ASSERT_EQ(ncclGroupEnd(), ncclSuccess);
  for (int rank = 0; rank < kSize; ++rank) {
    ASSERT_EQ(cudaStreamSynchronize(streams[rank]), cudaSuccess);
    EXPECT_EQ(values[rank]->Get()[9], 6 * Value(0, 9));
    ncclCommDestroy(communicators[rank]);
    cudaStreamDestroy(streams[rank]);
  }
}

TEST_F(NcclTest, NonBlockingCallsAreDoneWhenPolledForThem) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  Rank self = {.size = 1};
  ASSERT_EQ(ncclCommInitRankConfig(&self.communicator, 1, NewId(), 0, &config),
            ncclInProgress);
  EXPECT_EQ(self.State(), ncclSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking),
            cudaSuccess);
  const DeviceVector<float> mine(Values(1, 4)), sum(4);
  ASSERT_EQ(ncclAllReduce(mine.data(), sum.data(), 4, ncclFloat32, ncclSum,
                          self.communicator, self.stream),
            ncclInProgress);
  ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
  EXPECT_THAT(sum.Get()[1], testing::IsNan());  // not even enqueued
  EXPECT_EQ(ncclAllReduce(mine.data(), sum.data(), 4, ncclFloat32, ncclSum,
                          self.communicator, self.stream),
            ncclInvalidArgument);
  EXPECT_EQ(self.State(), ncclSuccess);
  ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
  EXPECT_EQ(sum.Get(), Values(1, 4));
  ncclCommDestroy(self.communicator);
  cudaStreamDestroy(self.stream);
}

TEST_F(NcclTest, MismatchedCollectivesAreFound) {
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    ASSERT_EQ(
        ncclAllReduce(mine.data(), mine.data(), self.rank == 0 ? 4 : 8,
                      ncclFloat32, ncclSum, self.communicator, self.stream),
        ncclSuccess);
    EXPECT_EQ(cudaStreamSynchronize(self.stream), cudaErrorLaunchFailure);
    EXPECT_EQ(self.State(), ncclInvalidUsage);
    EXPECT_THAT(ncclGetLastError(self.communicator),
                HasSubstr("different collectives"));
    EXPECT_THAT(DeviceFault(self.rank), HasSubstr("different collectives"));
    ncclCommAbort(self.communicator);
    cudaDeviceReset();
  });
}

TEST_F(NcclTest, MismatchedMessagesAreFound) {
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    if (self.rank == 0) {
      ncclSend(mine.data(), 8, ncclFloat32, 1, self.communicator, self.stream);
      cudaStreamSynchronize(self.stream);
    } else {
      ncclRecv(mine.data(), 6, ncclFloat32, 0, self.communicator, self.stream);
      EXPECT_EQ(cudaStreamSynchronize(self.stream), cudaErrorLaunchFailure);
      EXPECT_EQ(self.State(), ncclInvalidUsage);
      cudaDeviceReset();
    }
    ncclCommAbort(self.communicator);
  });
}

TEST_F(NcclTest, AbortFromAnotherThreadEndsAWait) {
  InjectNcclFault(NcclFault::kStall, 1, 0);
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    ncclAllReduce(mine.data(), mine.data(), 8, ncclFloat32, ncclSum,
                  self.communicator, self.stream);
    EXPECT_TRUE(self.StaysBusy());
    EXPECT_EQ(self.State(), ncclSuccess);  // nothing tells of a stall
    std::thread([&] {
      EXPECT_EQ(ncclCommAbort(self.communicator), ncclSuccess);
    }).join();
    EXPECT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
    EXPECT_EQ(self.State(), ncclInternalError);  // no such communicator
  });
}

TEST_F(NcclTest, AsyncErrorsAreReportedWhenAskedFor) {
  InjectNcclFault(NcclFault::kAsyncError, 0, 1);
  RunThreads(1, [](Rank& self) {
    const DeviceVector<float> mine(Values(0, 8));
    const auto reduce = [&] {
      return ncclAllReduce(mine.data(), mine.data(), 8, ncclFloat32, ncclSum,
                           self.communicator, self.stream);
    };
    ASSERT_EQ(reduce(), ncclSuccess);
    EXPECT_TRUE(self.Finishes());
    ASSERT_EQ(reduce(), ncclSuccess);
    EXPECT_TRUE(self.StaysBusy());
    EXPECT_EQ(self.State(), ncclSystemError);
    EXPECT_EQ(reduce(), ncclSystemError);
    ncclCommAbort(self.communicator);
    EXPECT_TRUE(self.Finishes());
  });
}

TEST_F(NcclTest, JoiningFailsForGoodReasons) {
  const ncclUniqueId id = NewId();
  ncclComm_t first = nullptr, second = nullptr;
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  EXPECT_EQ(ncclCommInitRankConfig(&first, 2, id, 2, &config),
            ncclInvalidArgument);
  ASSERT_EQ(ncclCommInitRankConfig(&first, 2, id, 0, &config), ncclInProgress);
  EXPECT_EQ(ncclCommInitRankConfig(&second, 2, id, 0, &config),
            ncclInvalidUsage);
  EXPECT_EQ(ncclCommInitRankConfig(&second, 3, id, 1, &config),
            ncclInvalidUsage);
  ncclResult_t state;
  ASSERT_EQ(ncclCommGetAsyncError(first, &state), ncclSuccess);
  EXPECT_EQ(state, ncclInProgress);  // rank 1 is awaited
  EXPECT_EQ(ncclCommAbort(first), ncclSuccess);
  EXPECT_EQ(ncclCommInitRankConfig(&second, 2, id, 1, &config),
            ncclSystemError);
  InjectNcclFault(NcclFault::kInitError, 0, 0);
  EXPECT_EQ(ncclCommInitRank(&first, 1, NewId(), 0), ncclSystemError);
  ncclCommAbort(first);
}

TEST_F(NcclTest, SplitsByColorAndKey) {
  RunThreads(4, [](Rank& self) {
    ncclComm_t part = nullptr;
    // {0, 2} with the order turned round, {1, 3}.
    ASSERT_EQ(ncclCommSplit(self.communicator, self.rank % 2, -self.rank, &part,
                            nullptr),
              ncclSuccess);
    int rank = -1, size = -1;
    ncclCommUserRank(part, &rank);
    ncclCommCount(part, &size);
    EXPECT_EQ(size, 2);
    EXPECT_EQ(rank, self.rank < 2 ? 1 : 0);
    const DeviceVector<float> mine(Values(self.rank, 8));
    ASSERT_EQ(ncclAllReduce(mine.data(), mine.data(), 8, ncclFloat32, ncclSum,
                            part, self.stream),
              ncclSuccess);
    ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
    EXPECT_EQ(mine.Get()[3],
              Value(self.rank % 2, 3) + Value(self.rank % 2 + 2, 3));
    ncclComm_t none = nullptr;
    EXPECT_EQ(
        ncclCommSplit(self.communicator, NCCL_SPLIT_NOCOLOR, 0, &none, nullptr),
        ncclSuccess);
    EXPECT_EQ(none, nullptr);
    ncclCommDestroy(part);
    ncclCommDestroy(self.communicator);
  });
}

TEST_F(NcclTest, CollectivesAreCapturedIntoGraphs) {
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    ASSERT_EQ(
        cudaStreamBeginCapture(self.stream, cudaStreamCaptureModeThreadLocal),
        cudaSuccess);
    ASSERT_EQ(ncclAllReduce(mine.data(), mine.data(), 8, ncclFloat32, ncclSum,
                            self.communicator, self.stream),
              ncclSuccess);
    ASSERT_EQ(cudaStreamEndCapture(self.stream, &graph), cudaSuccess);
    ASSERT_EQ(cudaGraphInstantiate(&exec, graph, 0), cudaSuccess);
    cudaGraphDestroy(graph);
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(cudaGraphLaunch(exec, self.stream), cudaSuccess);
    }
    ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
    EXPECT_EQ(mine.Get()[7], 3 * Value(0, 7) * 4);
    cudaGraphExecDestroy(exec);
    ncclCommDestroy(self.communicator);
  });
}

// Ranks as processes: the second collective of rank 1 is its process's end.
int LoseRankOne(const ncclUniqueId& id, int rank, NcclTransport transport) {
  SetNcclTransport(transport);
  if (rank == 1) InjectNcclFault(NcclFault::kExit, 1, 1);
  bool as_expected = false;
  RunRank(rank, 3, id, [&](Rank& self) {
    const DeviceVector<float> mine(Values(rank, 8));
    const auto reduce = [&] {
      return ncclAllReduce(mine.data(), mine.data(), 8, ncclFloat32, ncclSum,
                           self.communicator, self.stream);
    };
    EXPECT_EQ(reduce(), ncclSuccess);
    if (!self.Finishes()) return;
    // Over a network the loss may be known by now.
    if (reduce() == ncclSuccess) {
      EXPECT_TRUE(self.StaysBusy());
    } else {
      EXPECT_EQ(transport, NcclTransport::kNetwork);
    }
    const bool told =
        transport == NcclTransport::kNetwork
            ? Becomes([&] { return self.State() == ncclRemoteError; },
                      kDeadline)
            : self.State() == ncclSuccess;
    EXPECT_TRUE(told) << "the state is " << self.State();
    ncclCommAbort(self.communicator);
    as_expected = self.Finishes();
  });
  return as_expected && !testing::Test::HasFailure() ? 0 : 1;
}
TEST_F(NcclTest, ProcessesNoticeALostPeerOverANetworkOnly) {
  if (kSanitized) GTEST_SKIP() << "sanitizers and forks do not mix";
  for (const NcclTransport transport :
       {NcclTransport::kPeer, NcclTransport::kNetwork}) {
    const ncclUniqueId id = NewId();
    std::vector<pid_t> children;
    for (int rank = 0; rank < 3; ++rank) {
      const pid_t child = fork();
      if (child == 0) _exit(LoseRankOne(id, rank, transport));
      children.push_back(child);
    }
    const std::vector<int> expected = {0, 9, 0};
    for (int rank = 0; rank < 3; ++rank) {
      int status = 0;
      ASSERT_EQ(waitpid(children[rank], &status, 0), children[rank]);
      EXPECT_TRUE(WIFEXITED(status));
      EXPECT_EQ(WEXITSTATUS(status), expected[rank]) << "rank " << rank;
    }
  }
}

}  // namespace
}  // namespace caravan::emulated
