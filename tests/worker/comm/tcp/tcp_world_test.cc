#include "worker/comm/tcp/tcp_world.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/tcp/tcp_test_worlds.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;

// One listener for each rank, of which the test joins some.
struct Ranks {
  explicit Ranks(int size) {
    for (int rank = 0; rank < size; ++rank) {
      listeners.push_back(*TcpListener::Open("127.0.0.1"));
      endpoints.push_back(listeners.back().endpoint());
    }
  }
  absl::StatusOr<std::unique_ptr<TcpWorld>> Join(
      int rank, std::string secret = "secret",
      absl::Duration timeout = absl::Seconds(60)) {
    return JoinTcpWorld(std::move(listeners[rank]),
                        {.rank = rank,
                         .endpoints = endpoints,
                         .secret = std::move(secret),
                         .join_timeout = timeout});
  }
  std::vector<TcpListener> listeners;
  std::vector<std::string> endpoints;
};

TEST(TcpWorldTest, WhoDoesNotComeIsNamed) {
  Ranks ranks(3);
  // Rank 1 listens but never joins: its kernel takes the connection.
  EXPECT_THAT(ranks.Join(2, "secret", absl::Milliseconds(100)).status(),
              StatusIs(absl::StatusCode::kDeadlineExceeded,
                       HasSubstr("rank=2 peer=0 peer=1 after=100ms")));
}

TEST(TcpWorldTest, WhoIsGoneIsNamedAtOnce) {
  Ranks ranks(2);
  ranks.listeners[0] = *TcpListener::Open("127.0.0.1");  // closes the old one
  EXPECT_THAT(ranks.Join(1).status(),
              StatusIs(absl::StatusCode::kUnavailable,
                       AllOf(HasSubstr("rank 0 at " + ranks.endpoints[0]),
                             HasSubstr("refused"))));
}

TEST(TcpWorldTest, ARankOfAnotherEpochIsTurnedAway) {
  Ranks ranks(2);
  absl::StatusOr<std::unique_ptr<TcpWorld>> zero;
  std::thread thread(
      [&] { zero = ranks.Join(0, "secret", absl::Milliseconds(500)); });
  EXPECT_THAT(ranks.Join(1, "another").status(),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("rank 0 does not know")));
  thread.join();
  EXPECT_THAT(zero.status(), StatusIs(absl::StatusCode::kDeadlineExceeded,
                                      HasSubstr("peer=1")));
}

TEST(TcpWorldTest, StrangersHoldNobodyUp) {
  Ranks ranks(2);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const UniqueFd silent,
                               DialTcp(ranks.endpoints[0]));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const UniqueFd noisy,
                               DialTcp(ranks.endpoints[0]));
  const std::string noise(1000, 'x');
  pollfd polled = {noisy.get(), POLLOUT, 0};
  ASSERT_EQ(poll(&polled, 1, 10'000), 1);
  ASSERT_EQ(send(noisy.get(), noise.data(), noise.size(), MSG_NOSIGNAL), 1000);
  absl::StatusOr<std::unique_ptr<TcpWorld>> zero;
  std::thread thread([&] { zero = ranks.Join(0); });
  CARAVAN_EXPECT_OK(ranks.Join(1));
  thread.join();
  CARAVAN_EXPECT_OK(zero);
}

TEST(TcpWorldTest, ARankMustBeOne) {
  Ranks ranks(1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(TcpListener listener,
                               TcpListener::Open("127.0.0.1"));
  EXPECT_THAT(JoinTcpWorld(std::move(listener), {.rank = 1, .endpoints = {"a"}})
                  .status(),
              StatusIs(absl::StatusCode::kInvalidArgument));
  CARAVAN_EXPECT_OK(ranks.Join(0));
}

class TcpGroupTest : public ::testing::Test {
 protected:
  void Make(int size) {
    worlds_ = JoinTcpWorlds(size);
    std::vector<std::thread> threads;
    groups_.resize(size);
    for (int rank = 0; rank < size; ++rank) {
      CARAVAN_ASSERT_OK(worlds_[rank]);
      threads.emplace_back([&, rank] {
        GroupOptions options{.name = "tp0"};
        for (int i = 0; i < size; ++i) options.world_ranks.push_back(i);
        groups_[rank] = (*worlds_[rank])->CreateGroup(options);
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& group : groups_) CARAVAN_ASSERT_OK(group);
  }

  // As the process of this rank would.
  void End(int rank) {
    groups_[rank] = absl::CancelledError();
    worlds_[rank] = absl::CancelledError();
  }

  std::vector<absl::StatusOr<std::unique_ptr<TcpWorld>>> worlds_;
  std::vector<absl::StatusOr<std::unique_ptr<Communicator>>> groups_;
};

TEST_F(TcpGroupTest, APeerThatEndsIsNamedLongBeforeTheDeadline) {
  Make(3);
  std::thread end([&] { End(1); });
  std::vector<float> values(16);
  EXPECT_THAT(
      (*groups_[0])->AllReduceSum({values.data(), DType::kFloat32, 1, 16}),
      StatusIs(absl::StatusCode::kUnavailable,
               HasSubstr("group=tp0 peer=1: it closed the connection")));
  end.join();
}

TEST_F(TcpGroupTest, WhatAPeerSentBeforeItsEndArrives) {
  Make(2);
  // More than the kernel keeps for a connection.
  const std::vector<std::byte> message(16 << 20, std::byte{7});
  CARAVAN_ASSERT_OK((*groups_[1])->Send(message, 0));
  std::thread end([&] { End(1); });
  std::vector<std::byte> received(message.size());
  CARAVAN_EXPECT_OK((*groups_[0])->Recv(absl::MakeSpan(received), 1));
  EXPECT_EQ(received, message);
  end.join();
  EXPECT_THAT((*groups_[0])->Recv(absl::MakeSpan(received), 1),
              StatusIs(absl::StatusCode::kUnavailable, HasSubstr("peer=1")));
}

}  // namespace
}  // namespace caravan::worker
