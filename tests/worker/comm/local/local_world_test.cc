#include "worker/comm/local/local_world.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Span<const std::byte> Bytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string Receive(Communicator& group, int peer, size_t bytes) {
  std::string text(bytes, '?');
  const absl::Status status = group.Recv(
      {reinterpret_cast<std::byte*>(text.data()), text.size()}, peer);
  return status.ok() ? text : status.ToString();
}

TEST(LocalWorldTest, OneThreadMayMakeAllGroups) {
  std::vector<std::unique_ptr<World>> worlds = CreateLocalWorlds(3);
  ASSERT_EQ(worlds.size(), 3u);
  std::vector<std::unique_ptr<Communicator>> groups;
  for (auto& world : worlds) {
    EXPECT_EQ(world->size(), 3);
    CARAVAN_ASSERT_OK_AND_ASSIGN(
        auto group,
        world->CreateGroup({.name = "tp0", .world_ranks = {2, 0, 1}}));
    groups.push_back(std::move(group));
  }
  EXPECT_EQ(groups[2]->rank(), 0);
  EXPECT_EQ(groups[0]->rank(), 1);
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> values = {{1, 2}, {10, 20}, {100, 200}};
  for (int rank = 0; rank < 3; ++rank) {
    threads.emplace_back([&, rank] {
      CARAVAN_EXPECT_OK(groups[rank]->AllReduceSum(
          {values[rank].data(), DType::kFloat32, 1, 2}));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& sum : values) EXPECT_THAT(sum, ElementsAre(111, 222));
}

TEST(LocalWorldTest, AMessageWaitsForAReceiverThatComesLater) {
  std::vector<std::unique_ptr<World>> worlds = CreateLocalWorlds(2);
  const GroupOptions options{.name = "pp0", .world_ranks = {0, 1}};
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto sender, worlds[0]->CreateGroup(options));
  CARAVAN_ASSERT_OK(sender->Send(Bytes("early"), 1));
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto receiver, worlds[1]->CreateGroup(options));
  sender.reset();
  worlds[0].reset();
  EXPECT_EQ(Receive(*receiver, 0, 5), "early");
}

TEST(LocalWorldTest, MembersThatDisagreeNeverMeet) {
  std::vector<std::unique_ptr<World>> worlds = CreateLocalWorlds(2);
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto sender,
      worlds[0]->CreateGroup({.name = "a", .world_ranks = {0, 1}}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      auto receiver,
      worlds[1]->CreateGroup({.name = "b",
                              .world_ranks = {0, 1},
                              .timeout = absl::Milliseconds(20)}));
  CARAVAN_ASSERT_OK(sender->Send(Bytes("x"), 1));
  std::byte byte;
  EXPECT_THAT(receiver->Recv(absl::MakeSpan(&byte, 1), 0),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("receive timed out: group=b peer=0")));
}

}  // namespace
}  // namespace caravan::worker
