// Emulated NCCL: what it does when something goes wrong, with ranks as threads
// and as processes.
#include <nccl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "tests/emulated_device/tests/nccl_test_base.h"

namespace caravan::emulated {
namespace {

using testing::HasSubstr;

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
