#include "worker/agent/exit_reason.h"

#include <signal.h>
#include <sys/wait.h>

#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

TEST(ExitReasonTest, SaysHowAProcessEnded) {
  EXPECT_EQ(DescribeWaitStatus(0), "exited with code 0");
  EXPECT_EQ(DescribeWaitStatus(3 << 8), "exited with code 3");
  EXPECT_EQ(DescribeWaitStatus(SIGKILL), "killed by signal 9 (Killed)");
  EXPECT_EQ(DescribeWaitStatus(SIGSEGV | 0x80),
            "killed by signal 11 (Segmentation fault), core dumped");
}

TEST(ExitReasonTest, ReadsTheStatusOfAZombieWhateverItsName) {
  std::string numbers;
  for (int field = 4; field < 52; ++field) numbers += " 0";
  EXPECT_EQ(ZombieStatus("7 (a b) Z 1) Z" + numbers + " 9\n"), 9);
  EXPECT_EQ(ZombieStatus("7 (engine) Z" + numbers + " 256\n"), 256);
  // A living one, and what is cut short.
  EXPECT_FALSE(ZombieStatus("7 (engine) S" + numbers + " 0\n").has_value());
  EXPECT_FALSE(ZombieStatus("7 (engine) Z 0 0").has_value());
  EXPECT_FALSE(ZombieStatus("").has_value());
}

}  // namespace
}  // namespace caravan::worker
