#include "worker/agent/daemon_arguments.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const DaemonPlaces kPlaces = {.relay_command = "/run/b/bin/caravan relay",
                              .session_folder = "/run/b/session",
                              .shared_memory_folder = "/dev/shm/b"};

// As Open MPI 4.1.4 calls its rsh agent, quotes and the space before orted
// included.
TEST(ParseRelayCommandTest, ReadsWhatMpirunPasses) {
  const absl::StatusOr<DaemonRequest> request = ParseRelayCommand(
      {"node-b", " orted", "--daemonize", "-mca", "ess", "\"env\"", "-mca",
       "ess_base_vpid", "1", "-mca", "orte_hnp_uri",
       "\"1915355136.0;tcp://10.0.0.1:51189\"", "-mca", "plm_rsh_agent",
       "\"/run/a/bin/caravan relay\""});
  CARAVAN_ASSERT_OK(request);
  EXPECT_EQ(request->target_node, "node-b");
  EXPECT_THAT(request->arguments,
              ElementsAre("--daemonize", "-mca", "ess", "env", "-mca",
                          "ess_base_vpid", "1", "-mca", "orte_hnp_uri",
                          "1915355136.0;tcp://10.0.0.1:51189", "-mca",
                          "plm_rsh_agent", "/run/a/bin/caravan relay"));
}

// As an Open MPI with a prefix does.
TEST(ParseRelayCommandTest, PassesOverTheExportsOfAPrefix) {
  const absl::StatusOr<DaemonRequest> request = ParseRelayCommand(
      {"node-b",
       "PATH=/opt/mpi/bin:$PATH ; export PATH ; "
       "LD_LIBRARY_PATH=/opt/mpi/lib:$LD_LIBRARY_PATH ; export "
       "LD_LIBRARY_PATH ; /opt/mpi/bin/orted -mca ess env"});
  CARAVAN_ASSERT_OK(request);
  EXPECT_THAT(request->arguments, ElementsAre("-mca", "ess", "env"));
}

TEST(ParseRelayCommandTest, RefusesAnythingElse) {
  const auto refused = [](std::vector<std::string> arguments,
                          const char* text) {
    EXPECT_THAT(ParseRelayCommand(arguments),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(text)));
  };
  refused({}, "HOST COMMAND");
  refused({"-x", "orted"}, "HOST COMMAND");
  refused({"node-b"}, "starts orted and nothing else");
  refused({"node-b", "rm", "-rf", "/"}, "starts orted and nothing else");
  refused({"node-b", "notorted"}, "starts orted and nothing else");
  refused({"node-b", "orted", "\"open"}, "unbalanced quotes");
}

TEST(AllowedDaemonArgumentsTest, KeepsKnownParametersAndOwnPlaces) {
  EXPECT_THAT(
      AllowedDaemonArguments({"--daemonize",
                              "-mca",
                              "ess",
                              "env",
                              "--mca",
                              "ess_base_vpid",
                              "12",
                              "-mca",
                              "orte_node_regex",
                              "vm,node[2:1-4].x,third@0(3)",
                              "-mca",
                              "orte_hnp_uri",
                              "1.0;tcp://10.0.0.1:5;tcp6://[fd00::2]:54767",
                              "-mca",
                              "orte_tmpdir_base",
                              "/run/a/session",
                              "-mca",
                              "btl_vader_backing_directory",
                              "/dev/shm/a",
                              "-mca",
                              "plm_rsh_agent",
                              "/tmp/evil",
                              "-mca",
                              "pmix",
                              "^s1,s2,cray,isolated"},
                             kPlaces),
      IsOkAndHolds(ElementsAre(
          "-mca", "ess", "env", "-mca", "ess_base_vpid", "12", "-mca",
          "orte_node_regex", "vm,node[2:1-4].x,third@0(3)", "-mca",
          "orte_hnp_uri", "1.0;tcp://10.0.0.1:5;tcp6://[fd00::2]:54767", "-mca",
          "orte_tmpdir_base", "/run/b/session", "-mca",
          "btl_vader_backing_directory", "/dev/shm/b", "-mca", "plm_rsh_agent",
          "/run/b/bin/caravan relay", "-mca", "pmix", "^s1,s2,cray,isolated")));
}

TEST(AllowedDaemonArgumentsTest, RefusesWhatCouldRunOrReadSomethingElse) {
  const std::vector<std::vector<std::string>> refused = {
      {},
      {"--daemonize"},
      {"--spin"},
      {"--help"},
      {"-mca"},
      {"-mca", "ess"},
      {"-x", "PATH", "/tmp"},
      {"-mca", "mca_base_component_path", "/tmp/evil"},
      {"-mca", "mca_base_param_files", "/tmp/evil"},
      {"-mca", "mca_base_env_list", "LD_PRELOAD=/tmp/evil.so"},
      {"-mca", "orte_launch_agent", "/tmp/evil"},
      {"-mca", "orte_fork_agent", "/tmp/evil"},
      {"-mca", "ess", "$(id)"},
      {"-mca", "ess", "env;id"},
      {"-mca", "ess", ""},
      {"-mca", "ess_base_vpid", "1 2"},
      {"-mca", "ess_base_vpid", "-1"},
      {"-mca", "orte_hnp_uri", "file:/tmp/x y"},
      {"-mca", "orte_node_regex", "a`id`"},
      {"-mca", "btl", "tcp\nself"},
      {"-mca", "ess", "env", "stray"},
      {"-mca", "orte_node_regex", std::string(70000, 'a')},
  };
  for (const std::vector<std::string>& arguments : refused) {
    EXPECT_THAT(AllowedDaemonArguments(arguments, kPlaces),
                StatusIs(absl::StatusCode::kPermissionDenied))
        << ::testing::PrintToString(arguments).substr(0, 200);
  }
}

}  // namespace
}  // namespace caravan::worker
