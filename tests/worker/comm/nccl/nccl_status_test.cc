#include "worker/comm/nccl/nccl_status.h"

#include <nccl.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(NcclStatus, TellsWhoIsToBlame) {
  CARAVAN_EXPECT_OK(NcclStatus(ncclSuccess, "ncclSend"));
  EXPECT_THAT(NcclStatus(ncclRemoteError, "ncclSend"),
              StatusIs(absl::StatusCode::kUnavailable,
                       HasSubstr("ncclSend failed: remote process")));
  EXPECT_THAT(NcclStatus(ncclSystemError, "ncclSend"),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("NCCL_DEBUG=WARN")));
  EXPECT_THAT(NcclStatus(ncclInvalidUsage, "ncclSend"),
              StatusIs(absl::StatusCode::kInternal));
}

TEST(NcclStatus, HasWhatNcclSaysOfIt) {
  ncclComm_t communicator = nullptr;
  const ncclResult_t result =
      ncclCommInitRank(&communicator, 0, ncclUniqueId{}, 0);
  EXPECT_THAT(NcclStatus(result, "ncclCommInitRank"),
              StatusIs(absl::StatusCode::kInternal, HasSubstr(": bad rank")));
}

}  // namespace
}  // namespace caravan::worker
