// What the conformance suite does not see: how much is sent, and in what.
#include "worker/comm/message_communicator.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/tcp/tcp_test_worlds.h"

namespace caravan::worker {
namespace {

struct Traffic {
  int64_t messages = 0;
  int64_t bytes = 0;
};

class CountingTransport final : public Transport {
 public:
  CountingTransport(std::unique_ptr<Transport> transport, Traffic& traffic)
      : transport_(std::move(transport)), traffic_(traffic) {}

  int rank() const override { return transport_->rank(); }
  int size() const override { return transport_->size(); }
  Waiter& waiter() override { return transport_->waiter(); }
  absl::Status Send(Channel channel, absl::Span<const int> peers,
                    absl::Span<const std::byte> data) override {
    traffic_.messages += static_cast<int64_t>(peers.size());
    traffic_.bytes += static_cast<int64_t>(peers.size() * data.size());
    return transport_->Send(channel, peers, data);
  }
  absl::StatusOr<std::vector<SharedBuffer>> Receive(
      Channel channel, const Call& call,
      absl::Span<const ExpectedMessage> expected) override {
    return transport_->Receive(channel, call, expected);
  }

 private:
  const std::unique_ptr<Transport> transport_;
  Traffic& traffic_;
};

// One all-reduce among all, and one tensor to the next rank.
absl::Status SendAll(TcpWorld& world, DType wire, int64_t count,
                     Traffic& traffic) {
  GroupOptions options{.name = "counted", .wire_dtype = wire};
  for (int rank = 0; rank < world.size(); ++rank) {
    options.world_ranks.push_back(rank);
  }
  CARAVAN_ASSIGN_OR_RETURN(auto transport, world.CreateTransport(options));
  MessageCommunicator group(
      std::make_unique<CountingTransport>(std::move(transport), traffic));
  std::vector<float> values(count, 1);
  const Tensor tensor = {values.data(), DType::kFloat32, 1, count};
  CARAVAN_RETURN_IF_ERROR(group.AllReduceSum(tensor));
  const int size = world.size();
  CARAVAN_RETURN_IF_ERROR(group.SendTensor(tensor, (group.rank() + 1) % size));
  return group.RecvTensor(tensor, (group.rank() + size - 1) % size);
}

// Of rank 0.
Traffic TrafficOf(int size, DType wire, int64_t count) {
  const auto worlds = JoinTcpWorlds(size);
  std::vector<Traffic> traffic(size);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      CARAVAN_ASSERT_OK(worlds[rank]);
      CARAVAN_EXPECT_OK(SendAll(**worlds[rank], wire, count, traffic[rank]));
    });
  }
  for (std::thread& thread : threads) thread.join();
  return traffic[0];
}

// At once and by chunks.
TEST(MessageCommunicatorTest, BFloat16HalvesTheBytesAndKeepsTheMessages) {
  for (const int size : {2, 3}) {
    for (const int64_t count : {1000, 96000}) {
      SCOPED_TRACE(::testing::Message() << size << " ranks, " << count);
      const Traffic whole = TrafficOf(size, DType::kFloat32, count);
      const Traffic half = TrafficOf(size, DType::kBFloat16, count);
      EXPECT_GE(whole.bytes, 2 * count * 4);
      EXPECT_EQ(2 * half.bytes, whole.bytes);
      EXPECT_EQ(half.messages, whole.messages);
    }
  }
}

TEST(MessageCommunicatorTest, SmallSumsAreOneMessageToEach) {
  for (const DType wire : {DType::kFloat32, DType::kBFloat16}) {
    // And one tensor.
    EXPECT_EQ(TrafficOf(2, wire, 4096).messages, 1 + 1);
    EXPECT_EQ(TrafficOf(3, wire, 4096).messages, 2 + 1);
  }
}

// Other types are sent as they are.
TEST(MessageCommunicatorTest, OnlyFloat32IsRounded) {
  const auto worlds = JoinTcpWorlds(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      CARAVAN_ASSERT_OK(worlds[rank]);
      CARAVAN_ASSERT_OK_AND_ASSIGN(
          const auto group,
          (*worlds[rank])
              ->CreateGroup({.name = "pp0",
                             .world_ranks = {0, 1},
                             .wire_dtype = DType::kBFloat16}));
      const std::vector<uint16_t> sent = {0x3c01, 0x7e01, 0xffff};
      std::vector<uint16_t> values =
          rank == 0 ? sent : std::vector<uint16_t>(sent.size());
      const Tensor tensor = {values.data(), DType::kFloat16, 1, 3};
      CARAVAN_EXPECT_OK(rank == 0 ? group->SendTensor(tensor, 1)
                                  : group->RecvTensor(tensor, 0));
      EXPECT_EQ(values, sent);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace caravan::worker
