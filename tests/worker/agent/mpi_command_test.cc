#include "worker/agent/mpi_command.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;
using ::testing::Not;

MpiLaunch OneHost() {
  return {.epoch = {.replica = 0, .epoch = 1},
          .hosts = {{"node-a", 4}},
          .lead_node = "node-a",
          .lead_host_name = "vm",
          .relay_command = "/run/a/bin/caravan relay",
          .session_folder = "/run/a/session",
          .shared_memory_folder = "/dev/shm/a"};
}

MpiLaunch TwoHosts() {
  MpiLaunch launch = OneHost();
  launch.hosts = {{"node-b", 1}, {"node-a", 2}};
  launch.subnets = {"10.0.0.0/24", "10.1.0.0/16"};
  return launch;
}

std::string Line(const MpiLaunch& launch) {
  const absl::StatusOr<std::vector<std::string>> arguments =
      MpirunArguments(launch);
  EXPECT_THAT(arguments, testing::IsOk());
  return arguments.ok() ? absl::StrJoin(*arguments, " ") + " " : "";
}

TEST(MpiCommandTest, OneMachineUsesSharedMemoryAndNoRelay) {
  const std::string line = Line(OneHost());
  EXPECT_THAT(line, HasSubstr("--bind-to none --oversubscribe "));
  EXPECT_THAT(line, HasSubstr("--mca btl self,vader "));
  EXPECT_THAT(line, HasSubstr("--mca oob_tcp_if_include lo "));
  EXPECT_THAT(line, HasSubstr("--mca btl_vader_single_copy_mechanism none "));
  EXPECT_THAT(line, HasSubstr("--mca btl_vader_backing_directory /dev/shm/a "));
  EXPECT_THAT(line, HasSubstr("--mca orte_tmpdir_base /run/a/session "));
  EXPECT_THAT(line, HasSubstr("--host vm:4 -np 4 caravan-engine "));
  EXPECT_THAT(line, Not(HasSubstr("relay")));
  EXPECT_THAT(line, Not(HasSubstr("btl_tcp")));
}

TEST(MpiCommandTest, SeveralHostsKeepTheirOrderAndUseTheRelay) {
  const std::string line = Line(TwoHosts());
  EXPECT_THAT(line, HasSubstr("--mca btl self,vader,tcp "));
  EXPECT_THAT(line, HasSubstr("oob_tcp_if_include 10.0.0.0/24,10.1.0.0/16 "));
  EXPECT_THAT(line, HasSubstr("btl_tcp_if_include 10.0.0.0/24,10.1.0.0/16 "));
  EXPECT_THAT(line, HasSubstr("plm_rsh_agent /run/a/bin/caravan relay "));
  EXPECT_THAT(line, HasSubstr("--mca plm_rsh_no_tree_spawn 1 "));
  EXPECT_THAT(line, HasSubstr("--mca oob_tcp_keepalive_time 3 "));
  EXPECT_THAT(line, HasSubstr("--host node-b:1 -np 1 caravan-engine : "
                              "--host vm:2 -np 2 caravan-engine "));
}

TEST(MpiCommandTest, EachEpochHasOtherPortsAndAllAreInRange) {
  std::string last;
  for (uint64_t epoch : {0u, 1u, 2u, 319u, 320u, 4000000001u}) {
    MpiLaunch launch = TwoHosts();
    launch.epoch = {.replica = ~uint64_t{0}, .epoch = epoch};
    const std::vector<std::string> arguments = *MpirunArguments(launch);
    const auto found =
        std::find(arguments.begin(), arguments.end(), "btl_tcp_port_min_v4");
    ASSERT_NE(found, arguments.end());
    const std::string& port = *(found + 1);
    EXPECT_NE(port, last);
    EXPECT_GE(std::stoi(port), 10240);
    EXPECT_LE(std::stoi(port) + 64, 32768);
    last = port;
  }
}

TEST(MpiCommandTest, RefusesBadHostsAndSubnets) {
  const auto refused = [](MpiLaunch launch, const char* text) {
    EXPECT_THAT(MpirunArguments(launch),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  };
  MpiLaunch launch = OneHost();
  launch.hosts.clear();
  refused(launch, "not 0");
  launch.hosts = {{"node-b", 1}};
  refused(launch, "'node-a', is none of the MPI hosts");
  launch.hosts = {{"node-a", 1}, {"node-a", 1}};
  refused(launch, "two MPI hosts are called 'node-a'");
  // Open MPI would take this name for its own machine.
  launch.hosts = {{"node-a", 1}, {"vm", 1}};
  refused(launch, "two MPI hosts are called 'vm'");
  launch.hosts = {{"node-a", 0}};
  refused(launch, "0 slots");
  launch.hosts = {{"node-a", 1}, {"b --mca x y", 1}};
  refused(launch, "bad MPI host 'b --mca x y'");
  launch = TwoHosts();
  for (const char* subnet : {"", "10.0.0.0", "10.0.0.0/0", "10.0.0.0/33",
                             "10.0.0/24", "eth0", "10.0.0.0/24,lo", "::/64"}) {
    launch.subnets = {subnet};
    refused(launch, "not an IPv4 subnet");
  }
}

TEST(MpiCommandTest, TakesTagsOff) {
  EXPECT_EQ(WithoutMpirunTag("[1,2]<stderr>:a [x]<stderr>:b"),
            "a [x]<stderr>:b");
  EXPECT_EQ(WithoutMpirunTag("[1,0]<stdout>:"), "");
  for (const char* line : {"", "a", "[1,2] a", "[1,2]<stderr a", "a>:b",
                           "[host:77] a>:b ]<std", " [1,2]<stderr>:a"}) {
    EXPECT_EQ(WithoutMpirunTag(line), line);
  }
}

TEST(MpiCommandTest, KnowsNodeNames) {
  for (const char* name : {"a", "node-1.example.org", "N_2", "10.0.0.1"}) {
    EXPECT_TRUE(IsNodeName(name)) << name;
  }
  for (const char* name :
       {"", "-a", ".a", "a b", "a;b", "a/b", "a:1", "$x", "a,b", "\xc3\xa4"}) {
    EXPECT_FALSE(IsNodeName(name)) << name;
  }
  EXPECT_TRUE(IsNodeName(std::string(253, 'a')));
  EXPECT_FALSE(IsNodeName(std::string(254, 'a')));
}

}  // namespace
}  // namespace caravan::worker
