// Emulated NCCL: what it computes, with ranks as threads.
#include <nccl.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulated_device/tests/nccl_test_base.h"

namespace caravan::emulated {
namespace {

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

// `inout` summed over the ranks, as a graph.
void RecordAllReduce(Rank& self, const DeviceVector<float>& inout,
                     cudaGraphExec_t* exec) {
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(
      cudaStreamBeginCapture(self.stream, cudaStreamCaptureModeThreadLocal),
      cudaSuccess);
  ASSERT_EQ(ncclAllReduce(inout.data(), inout.data(), inout.size(), ncclFloat32,
                          ncclSum, self.communicator, self.stream),
            ncclSuccess);
  ASSERT_EQ(cudaStreamEndCapture(self.stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(exec, graph, 0), cudaSuccess);
  cudaGraphDestroy(graph);
}

TEST_F(NcclTest, CollectivesAreCapturedIntoGraphs) {
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    cudaGraphExec_t exec = nullptr;
    ASSERT_NO_FATAL_FAILURE(RecordAllReduce(self, mine, &exec));
    for (int i = 0; i < 3; ++i) {
      ASSERT_EQ(cudaGraphLaunch(exec, self.stream), cudaSuccess);
    }
    ASSERT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
    EXPECT_EQ(mine.Get()[7], 3 * Value(0, 7) * 4);
    cudaGraphExecDestroy(exec);
    ncclCommDestroy(self.communicator);
  });
}

TEST_F(NcclTest, ACommunicatorIsGivenUpAfterItsGraphs) {
  RunThreads(2, [](Rank& self) {
    const DeviceVector<float> mine(Values(self.rank, 8));
    cudaGraphExec_t exec = nullptr;
    ASSERT_NO_FATAL_FAILURE(RecordAllReduce(self, mine, &exec));
    std::atomic<bool> gone = false;
    std::thread abort([&] {
      ncclCommAbort(self.communicator);
      gone = true;
    });
    EXPECT_FALSE(Becomes([&] { return gone.load(); }, kLongEnough));
    // The other rank may have left: what was launched ends all the same.
    ASSERT_EQ(cudaGraphLaunch(exec, self.stream), cudaSuccess);
    cudaGraphExecDestroy(exec);
    abort.join();
    EXPECT_EQ(cudaStreamSynchronize(self.stream), cudaSuccess);
  });
}

TEST_F(NcclTest, FarewellTakesUntilGraphsAreGone) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  Rank self = {.size = 1};
  ASSERT_EQ(ncclCommInitRankConfig(&self.communicator, 1, NewId(), 0, &config),
            ncclInProgress);
  EXPECT_EQ(self.State(), ncclSuccess);
  ASSERT_EQ(cudaStreamCreateWithFlags(&self.stream, cudaStreamNonBlocking),
            cudaSuccess);
  const DeviceVector<float> mine(Values(1, 4));
  cudaGraph_t graph = nullptr;
  ASSERT_EQ(
      cudaStreamBeginCapture(self.stream, cudaStreamCaptureModeThreadLocal),
      cudaSuccess);
  ASSERT_EQ(ncclAllReduce(mine.data(), mine.data(), 4, ncclFloat32, ncclSum,
                          self.communicator, self.stream),
            ncclInProgress);
  EXPECT_EQ(self.State(), ncclSuccess);  // enqueued while it was polled
  ASSERT_EQ(cudaStreamEndCapture(self.stream, &graph), cudaSuccess);
  EXPECT_EQ(ncclCommFinalize(self.communicator), ncclInProgress);
  EXPECT_EQ(self.State(), ncclInProgress);
  cudaGraphDestroy(graph);
  EXPECT_EQ(self.State(), ncclSuccess);
  ncclCommDestroy(self.communicator);
  cudaStreamDestroy(self.stream);
}

}  // namespace
}  // namespace caravan::emulated
