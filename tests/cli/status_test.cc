#include "cli/status.h"

#include "coordinator/cluster/status_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::cli {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TEST(FormatStatusTest, ShowsWhatTheServerSays) {
  coordinator::ClusterView view;
  view.state = coordinator::ReplicaState::kRunning;
  view.epoch = 2;
  view.last_cause = "replica 0 epoch 1 ended: rank 0 on node-a: gone";
  view.plan.set_tp(1);
  view.plan.set_pp(1);
  v1::RankPlan* rank = view.plan.add_ranks();
  rank->set_node("node-a");
  rank->mutable_layers()->set_end(22);
  rank->mutable_kv_heads()->set_end(4);
  view.ranks.push_back({.node = "node-a", .phase = "idle"});
  coordinator::Node node;
  node.name = "node-a";
  node.data_address = "10.0.0.2/24";
  for (int i = 0; i < 2; ++i) {
    v1::Device gpu;
    gpu.set_kind("cuda");
    gpu.set_name("NVIDIA L4");
    gpu.set_memory_bytes(int64_t{24} << 30);
    node.devices.push_back(gpu);
  }
  view.nodes.push_back(node);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::string text,
      FormatStatus(coordinator::StatusJson(
          "tiny", view, {.num_running = 3, .blocks_total = 40})));
  EXPECT_THAT(text, HasSubstr("Model tiny"));
  EXPECT_THAT(text, HasSubstr("Replica 0: running, epoch 2, tp 1 x pp 1"));
  EXPECT_THAT(text, HasSubstr("Last failure: replica 0 epoch 1 ended"));
  EXPECT_THAT(text, HasSubstr("10.0.0.2/24"));
  EXPECT_THAT(text, HasSubstr("2 x NVIDIA L4 (24.00 GiB)"));
  EXPECT_THAT(text, HasSubstr("0-21"));
  EXPECT_THAT(text, HasSubstr("3 running, 0 waiting; cache blocks: 0 of 40"));
}

TEST(FormatStatusTest, OtherAnswersAreRefused) {
  for (const char* json :
       {"", "{", "[]", "{}", "null", R"({"model": 7})",
        R"({"model":"m","build":"b","nodes":{"a":1},"replicas":[]})",
        R"({"model":"m","build":"b","nodes":[],"replicas":[{}]})"}) {
    EXPECT_THAT(FormatStatus(json).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << json;
  }
}

}  // namespace
}  // namespace caravan::cli
