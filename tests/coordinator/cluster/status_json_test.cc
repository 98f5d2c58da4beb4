#include "coordinator/cluster/status_json.h"

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"

namespace caravan::coordinator {
namespace {

using Json = nlohmann::json;

TEST(StatusJsonTest, TellsOfNodesRanksAndRequests) {
  ClusterView view;
  view.state = ReplicaState::kRunning;
  view.epoch = 3;
  view.last_cause = "rank 0 on \xff: gone";  // not UTF-8
  view.plan.set_tp(1);
  view.plan.set_pp(1);
  view.plan.set_quantization("q8");
  view.plan.set_activation_dtype("bfloat16");
  v1::RankPlan* rank = view.plan.add_ranks();
  rank->set_node("node-a");
  rank->mutable_layers()->set_end(22);
  rank->set_weight_bytes(100);
  rank->set_kv_cache_bytes(20);
  rank->set_kv_cache_dtype("float16");
  rank->set_activation_bytes(3);
  rank->set_reserve_bytes(500);
  view.ranks.push_back({.node = "node-a", .pid = 77, .phase = "idle"});
  Node node;
  node.name = "node-a";
  v1::Device device;
  device.set_kind("cpu");
  device.set_num_cores(8);
  node.devices.push_back(device);
  device.set_kind("cuda");
  device.set_uuid("GPU-1");
  device.add_peers("GPU-2");
  node.devices.push_back(device);
  view.nodes.push_back(node);

  const Json json = Json::parse(StatusJson(
      "tiny", view, {.ready = true, .num_running = 2, .blocks_used = 5}));
  EXPECT_EQ(json["model"], "tiny");
  EXPECT_EQ(json["ready"], true);
  EXPECT_EQ(json["nodes"][0]["devices"][0]["cores"], 8);
  EXPECT_EQ(json["nodes"][0]["devices"][0].count("uuid"), 0);
  EXPECT_EQ(json["nodes"][0]["devices"][1]["uuid"], "GPU-1");
  EXPECT_EQ(json["nodes"][0]["devices"][1]["peers"], Json::array({"GPU-2"}));
  const Json& replica = json["replicas"][0];
  EXPECT_EQ(replica["state"], "running");
  EXPECT_EQ(replica["epoch"], 3);
  EXPECT_EQ(replica["quantization"], "q8");
  EXPECT_EQ(replica["activation_dtype"], "bfloat16");
  EXPECT_EQ(replica["ranks"][0]["node"], "node-a");
  EXPECT_EQ(replica["ranks"][0]["pid"], 77);
  EXPECT_EQ(replica["ranks"][0]["kv_cache_dtype"], "float16");
  EXPECT_EQ(replica["ranks"][0]["layers"], Json::array({0, 22}));
  EXPECT_EQ(replica["ranks"][0]["planned_bytes"], 623);
  EXPECT_EQ(json["requests"]["running"], 2);
  EXPECT_EQ(json["requests"]["blocks_used"], 5);
}

TEST(StatusJsonTest, AnEmptyClusterIsSaidToBeSo) {
  const Json json = Json::parse(StatusJson("tiny", {}, {}));
  EXPECT_EQ(json["ready"], false);
  EXPECT_TRUE(json["nodes"].empty());
  EXPECT_EQ(json["replicas"][0]["state"], "waiting for nodes");
  EXPECT_TRUE(json["replicas"][0]["ranks"].empty());
}

}  // namespace
}  // namespace caravan::coordinator
