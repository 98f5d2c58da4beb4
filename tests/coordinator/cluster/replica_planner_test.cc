#include "coordinator/cluster/replica_planner.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::StatusIs;

PlannerOptions Options(int tp, int pp) {
  PlannerOptions options;
  options.spec = {.vocab_size = 1000,
                  .hidden_size = 64,
                  .intermediate_size = 160,
                  .num_layers = 5,
                  .num_heads = 4,
                  .num_kv_heads = 2,
                  .head_dim = 16,
                  .max_positions = 1024,
                  .dtype = DType::kFloat32};
  options.plan = {.tp = tp,
                  .pp = pp,
                  .quantization = partition::Quantization::kQ4,
                  .weight_dtype = DType::kFloat32,
                  .activation_dtype = DType::kBFloat16,
                  .max_sequences = 8,
                  .max_rows_per_step = 64};
  options.model.set_path("/models/tiny");
  options.model.set_fingerprint("abc");
  return options;
}

std::vector<Node> Nodes(int count, int64_t memory_bytes = int64_t{1} << 30) {
  std::vector<Node> nodes;
  for (int i = 0; i < count; ++i) {
    Node node;
    node.name = std::string(1, static_cast<char>('a' + i));
    v1::Device device;
    device.set_kind("cpu");
    device.set_num_cores(4);
    device.set_memory_bytes(memory_bytes);
    node.devices.push_back(device);
    nodes.push_back(node);
  }
  return nodes;
}

TEST(PlanReplicaTest, EveryRankIsToldItsShareAndItsNode) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan plan,
                               PlanReplica(Options(2, 2), Nodes(2)));
  EXPECT_EQ(plan.tp(), 2);
  EXPECT_EQ(plan.pp(), 2);
  EXPECT_EQ(plan.weight_dtype(), "float32");
  EXPECT_EQ(plan.quantization(), "q4");
  EXPECT_EQ(plan.activation_dtype(), "bfloat16");
  EXPECT_FALSE(plan.enforce_eager());
  EXPECT_FALSE(plan.deterministic());
  EXPECT_EQ(plan.max_model_len(), 1024);
  EXPECT_EQ(plan.model().path(), "/models/tiny");
  EXPECT_EQ(plan.model().fingerprint(), "abc");
  EXPECT_GE(plan.step_timeout_ms(), 60000);
  ASSERT_EQ(plan.ranks_size(), 4);
  for (int rank = 0; rank < 4; ++rank) {
    const v1::RankPlan& share = plan.ranks(rank);
    EXPECT_EQ(share.rank(), rank);
    EXPECT_EQ(share.stage(), rank / 2);
    EXPECT_EQ(share.tp_rank(), rank % 2);
    EXPECT_EQ(share.node(), rank < 2 ? "a" : "b");
    EXPECT_EQ(share.num_threads(), 2);
    EXPECT_EQ(share.kv_heads().end() - share.kv_heads().begin(), 1);
    EXPECT_GT(share.weight_bytes(), 0);
    EXPECT_GT(share.kv_cache_bytes(), 0);
    EXPECT_EQ(share.kv_cache_dtype(), "float32");  // on CPUs
    EXPECT_GT(share.activation_bytes(), 0);
  }
  EXPECT_EQ(plan.ranks(0).layers().begin(), 0);
  EXPECT_EQ(plan.ranks(3).layers().end(), 5);
  EXPECT_EQ(plan.ranks(1).layers().end(), plan.ranks(2).layers().begin());
}

TEST(PlanReplicaTest, TellsEnginesToDoWithoutGraphs) {
  PlannerOptions options = Options(1, 1);
  options.plan.enforce_eager = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan plan,
                               PlanReplica(options, Nodes(1)));
  EXPECT_TRUE(plan.enforce_eager());
}

TEST(PlanReplicaTest, TellsEnginesToKeepEveryBit) {
  PlannerOptions options = Options(1, 1);
  options.plan.deterministic = true;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan plan,
                               PlanReplica(options, Nodes(1)));
  EXPECT_TRUE(plan.deterministic());
}

TEST(PlanReplicaTest, TheCacheKeepsWithinANodesShareForIt) {
  PlannerOptions options = Options(2, 1);
  // Keys and values of 16 positions: 2 heads x 16 wide x 4 bytes x 5 layers x 2
  // = 20480 bytes on both ranks together.
  options.kv_cache_bytes_per_node = 100 * 20480;
  CARAVAN_ASSERT_OK_AND_ASSIGN(v1::EnginePlan plan,
                               PlanReplica(options, Nodes(1)));
  EXPECT_EQ(plan.num_blocks(), 100);
  // Two nodes hold twice as much.
  CARAVAN_ASSERT_OK_AND_ASSIGN(plan, PlanReplica(options, Nodes(2)));
  EXPECT_EQ(plan.num_blocks(), 200);
}

TEST(PlanReplicaTest, TheCacheHoldsOneLongestSequenceAtLeast) {
  PlannerOptions options = Options(1, 1);
  options.kv_cache_bytes_per_node = 0;
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan plan,
                               PlanReplica(options, Nodes(1)));
  EXPECT_EQ(plan.num_blocks(), 1024 / 16);
}

TEST(PlanReplicaTest, WhatDoesNotFitIsRefused) {
  EXPECT_THAT(PlanReplica(Options(1, 1), Nodes(1, 1 << 20)).status(),
              StatusIs(absl::StatusCode::kResourceExhausted));
  EXPECT_THAT(PlanReplica(Options(5, 1), Nodes(1)).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(PlanReplica(Options(1, 1), {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
}

TEST(PlanReplicaTest, SimulatedEnginesFitAnywhere) {
  PlannerOptions options = Options(1, 1);
  options.device = "simulated";
  CARAVAN_ASSERT_OK_AND_ASSIGN(const v1::EnginePlan plan,
                               PlanReplica(options, Nodes(1, 0)));
  EXPECT_EQ(plan.num_blocks(), 8 * 1024 / 16);
}

}  // namespace
}  // namespace caravan::coordinator
