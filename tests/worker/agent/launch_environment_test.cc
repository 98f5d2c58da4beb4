#include "worker/agent/launch_environment.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace caravan::worker {
namespace {

using ::testing::ElementsAre;

TEST(LaunchEnvironmentTest, OursReplaceWhatWasInherited) {
  EXPECT_THAT(LaunchEnvironment({"HOME=/root", "CARAVAN_MARK=old",
                                 "CARAVAN_OTHER=1", "PATH=/usr/bin"},
                                "/run/a/bin", {"CARAVAN_MARK=new"}),
              ElementsAre("HOME=/root", "CARAVAN_OTHER=1",
                          "PATH=/run/a/bin:/usr/bin", "CARAVAN_MARK=new"));
}

TEST(LaunchEnvironmentTest, NothingSteersOpenMpiFromOutside) {
  EXPECT_THAT(
      LaunchEnvironment(
          {"OMPI_MCA_btl=tcp", "PMIX_SERVER_URI=x", "PMI_RANK=1", "ORTE_X=1",
           "OPAL_PREFIX=/x", "PRTE_MCA_x=1", "OMPIX=kept"},
          "/run/a/bin", {"OMPI_ALLOW_RUN_AS_ROOT=1"}),
      ElementsAre("OMPIX=kept", "PATH=/run/a/bin:/usr/local/bin:/usr/bin:/bin",
                  "OMPI_ALLOW_RUN_AS_ROOT=1"));
}

}  // namespace
}  // namespace caravan::worker
