#include "coordinator/cluster/placement.h"

#include <map>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::coordinator {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Node MakeNode(const std::string& name, int cores,
              const std::string& address = "10.0.0.1/24") {
  Node node;
  node.name = name;
  node.data_address = address;
  v1::Device device;
  device.set_kind("cpu");
  device.set_name("CPU");
  device.set_num_cores(cores);
  device.set_memory_bytes(int64_t{cores} << 30);
  node.devices.push_back(device);
  return node;
}

std::vector<std::string> NodesOf(const std::vector<RankPlacement>& ranks) {
  std::vector<std::string> names;
  for (const RankPlacement& rank : ranks) names.push_back(rank.device.node);
  return names;
}

TEST(PlaceRanksTest, OneNodeRunsAllRanksAndSharesItsCoresAndMemory) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks({MakeNode("a", 8)}, {.tp = 2, .pp = 2}));
  ASSERT_THAT(ranks, SizeIs(4));
  for (const RankPlacement& rank : ranks) {
    EXPECT_EQ(rank.device.node, "a");
    EXPECT_EQ(rank.num_threads, 2);
    EXPECT_EQ(rank.device.memory_bytes, int64_t{2} << 30);
  }
}

Node MakeGpuNode(const std::string& name, int num_gpus) {
  Node node = MakeNode(name, 8);
  for (int i = 0; i < num_gpus; ++i) {
    v1::Device gpu;
    gpu.set_kind("cuda");
    gpu.set_name("GPU");
    gpu.set_uuid(name + std::to_string(i));
    gpu.set_memory_bytes(int64_t{24} << 30);
    node.devices.push_back(gpu);
  }
  return node;
}

std::vector<std::string> GpusOf(const std::vector<RankPlacement>& ranks) {
  std::vector<std::string> uuids;
  for (const RankPlacement& rank : ranks) uuids.push_back(rank.device_uuid);
  return uuids;
}

TEST(PlaceRanksTest, EachRankHasAGpuAndFewNodesAreUsed) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks({MakeGpuNode("a", 1), MakeGpuNode("b", 2), MakeGpuNode("c", 0),
                  MakeGpuNode("d", 2)},
                 {.tp = 2, .pp = 2, .device = "cuda"}));
  EXPECT_THAT(GpusOf(ranks), ElementsAre("b0", "b1", "d0", "d1"));
  EXPECT_THAT(NodesOf(ranks), ElementsAre("b", "b", "d", "d"));
  EXPECT_EQ(ranks[0].device.memory_bytes, int64_t{24} << 30);
  EXPECT_EQ(ranks[0].device.kind, partition::DeviceKind::kGpu);
}

TEST(PlaceRanksTest, TooFewGpusAreCountedByNode) {
  Node without = MakeGpuNode("a", 0);
  without.no_gpu_reason = "no NVIDIA driver";
  EXPECT_THAT(
      PlaceRanks({without, MakeGpuNode("b", 1)}, {.tp = 2, .device = "cuda"}),
      StatusIs(absl::StatusCode::kFailedPrecondition,
               "2 GPUs are needed, one for each rank: b has 1, a has 0 "
               "(no NVIDIA driver)"));
}

TEST(PlaceRanksTest, MoreRanksThanCoresGetOneThreadEach) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks({MakeNode("a", 2)}, {.tp = 2, .pp = 2}));
  EXPECT_EQ(ranks[3].num_threads, 1);
}

TEST(PlaceRanksTest, BlocksAreContiguousAndEven) {
  struct Case {
    int tp;
    int pp;
    int nodes;
    std::vector<std::string> want;
  };
  const std::vector<std::string> names = {"a", "b", "c", "d", "e"};
  for (const Case& test : std::vector<Case>{
           {2, 2, 2, {"a", "a", "b", "b"}},
           {2, 2, 3, {"a", "a", "b", "c"}},
           {2, 2, 4, {"a", "b", "c", "d"}},
           {2, 2, 5, {"a", "b", "c", "d"}},
           {1, 1, 4, {"a"}},
           {3, 2, 4, {"a", "a", "b", "b", "c", "d"}},
       }) {
    std::vector<Node> nodes;
    for (int i = 0; i < test.nodes; ++i) nodes.push_back(MakeNode(names[i], 4));
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        const std::vector<RankPlacement> ranks,
        PlaceRanks(nodes, {.tp = test.tp, .pp = test.pp}));
    EXPECT_EQ(NodesOf(ranks), test.want)
        << test.tp << " x " << test.pp << " on " << test.nodes;
  }
}

TEST(PlaceRanksTest, ThreadsCanBeGiven) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks({MakeNode("a", 8)}, {.tp = 2, .threads_per_rank = 3}));
  EXPECT_EQ(ranks[0].num_threads, 3);
}

TEST(PlaceRanksTest, WhatCannotBePlacedIsRefused) {
  EXPECT_THAT(PlaceRanks({}, {}).status(),
              StatusIs(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(PlaceRanks({MakeNode("a", 1)}, {.tp = 0}).status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(
      PlaceRanks({MakeNode("a", 1)}, {.device = "cuda"}).status(),
      StatusIs(absl::StatusCode::kFailedPrecondition, HasSubstr("a has 0")));
  EXPECT_THAT(PlaceRanks({MakeNode("a", 1)}, {.device = "simulated"}),
              testing::IsOk());
}

TEST(SubnetOfTest, MasksTheHostBits) {
  EXPECT_THAT(SubnetOf("10.0.0.2/24"), IsOkAndHolds("10.0.0.0/24"));
  EXPECT_THAT(SubnetOf("192.168.7.130/25"), IsOkAndHolds("192.168.7.128/25"));
  EXPECT_THAT(SubnetOf("1.2.3.4/32"), IsOkAndHolds("1.2.3.4/32"));
  EXPECT_THAT(SubnetOf("1.2.3.4/0"), IsOkAndHolds("0.0.0.0/0"));
  for (const char* bad : {"", "10.0.0.2", "10.0.0/24", "10.0.0.2/33",
                          "10.0.0.2/-1", "::1/64", "10.0.0.2/24/8"}) {
    EXPECT_THAT(SubnetOf(bad).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << bad;
  }
}

TEST(DataSubnetsTest, EachSubnetOnceAndNoneForOneNode) {
  EXPECT_THAT(DataSubnets({MakeNode("a", 1, "127.0.0.1/8")}),
              IsOkAndHolds(IsEmpty()));
  EXPECT_THAT(DataSubnets({MakeNode("a", 1, "10.0.0.1/24"),
                           MakeNode("b", 1, "10.0.0.2/24"),
                           MakeNode("c", 1, "10.0.1.2/24")}),
              IsOkAndHolds(ElementsAre("10.0.0.0/24", "10.0.1.0/24")));
  EXPECT_THAT(DataSubnets({MakeNode("a", 1, "10.0.0.1/24"),
                           MakeNode("b", 1, "127.0.0.1/8")})
                  .status(),
              StatusIs(absl::StatusCode::kFailedPrecondition,
                       HasSubstr("node b joined by loopback")));
}

TEST(StageDevices, AreOneForAllOrOneForEach) {
  EXPECT_THAT(StageDevices("cuda", 3),
              IsOkAndHolds(ElementsAre("cuda", "cuda", "cuda")));
  EXPECT_THAT(StageDevices("simulated", 1),
              IsOkAndHolds(ElementsAre("simulated")));
  EXPECT_THAT(StageDevices("cuda,cpu", 2),
              IsOkAndHolds(ElementsAre("cuda", "cpu")));
  for (const char* text : {"", "gpu", "cuda,", "cuda,cpu,cpu", "cuda,simulated",
                           "simulated,simulated"}) {
    EXPECT_THAT(StageDevices(text, 2),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("each of the 2 pipeline stages")))
        << text;
  }
}

TEST(PlaceRanksTest, StagesMayDifferInKind) {
  Node with_both = MakeGpuNode("a", 3);
  with_both.devices.push_back(MakeNode("a", 4).devices[0]);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const std::vector<RankPlacement> ranks,
      PlaceRanks({with_both, MakeNode("b", 4)},
                 {.tp = 1, .pp = 4, .device = "cpu,cuda,cuda,cpu"}));
  ASSERT_EQ(ranks.size(), 4);
  EXPECT_EQ(ranks[0].device_kind, "cpu");
  EXPECT_EQ(ranks[0].device.node, "a");
  EXPECT_EQ(ranks[1].device_kind, "cuda");
  EXPECT_EQ(ranks[1].device.node, "a");
  EXPECT_NE(ranks[1].device_uuid, ranks[2].device_uuid);
  EXPECT_EQ(ranks[3].device_kind, "cpu");
  EXPECT_EQ(ranks[3].device.node, "b");
  EXPECT_THAT(ranks[3].device_uuid, IsEmpty());
}

}  // namespace
}  // namespace caravan::coordinator
