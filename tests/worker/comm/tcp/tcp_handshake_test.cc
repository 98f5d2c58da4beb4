#include "worker/comm/tcp/tcp_handshake.h"

#include <string>
#include <utility>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

TcpHandshake::Self Self(int rank, std::string secret = "secret") {
  return {.rank = rank,
          .num_ranks = 4,
          .secret = std::move(secret),
          .nonce = std::string(32, static_cast<char>('a' + rank))};
}

// Carries what one end has said to the other, byte by byte.
absl::Status Carry(TcpHandshake& from, TcpHandshake& to) {
  for (const char byte : from.TakeOutput()) {
    if (absl::Status status = to.Receive({&byte, 1}); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

TEST(TcpHandshakeTest, TwoRanksOfOneEpochMeet) {
  TcpHandshake dialer = TcpHandshake::Dial(Self(2), 1);
  TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
  EXPECT_EQ(acceptor.peer(), -1);
  CARAVAN_ASSERT_OK(Carry(dialer, acceptor));
  EXPECT_EQ(acceptor.peer(), 2);
  CARAVAN_ASSERT_OK(Carry(acceptor, dialer));
  EXPECT_FALSE(acceptor.done());
  EXPECT_FALSE(dialer.done());  // its proof is not sent yet
  CARAVAN_ASSERT_OK(Carry(dialer, acceptor));
  EXPECT_TRUE(dialer.done());
  EXPECT_TRUE(acceptor.done());
  EXPECT_EQ(dialer.wanted(), 0u);
  EXPECT_EQ(acceptor.wanted(), 0u);
}

TEST(TcpHandshakeTest, AnotherSecretIsRefusedByBothEnds) {
  TcpHandshake dialer = TcpHandshake::Dial(Self(2, "another"), 1);
  TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
  CARAVAN_ASSERT_OK(Carry(dialer, acceptor));
  EXPECT_THAT(Carry(acceptor, dialer),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("rank 1 does not know")));
  // A dialer that goes on all the same.
  EXPECT_THAT(acceptor.Receive(std::string(32, 'x')),
              StatusIs(absl::StatusCode::kPermissionDenied,
                       HasSubstr("rank 2 does not know")));
}

TEST(TcpHandshakeTest, AnAnswerCannotBePlayedAgain) {
  TcpHandshake dialer = TcpHandshake::Dial(Self(2), 1);
  TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
  CARAVAN_ASSERT_OK(Carry(dialer, acceptor));
  const std::string answer = acceptor.TakeOutput();
  TcpHandshake::Self anew = Self(2);
  anew.nonce = std::string(32, 'z');
  EXPECT_THAT(TcpHandshake::Dial(anew, 1).Receive(answer),
              StatusIs(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(dialer.Receive(answer), testing::IsOk());
}

TEST(TcpHandshakeTest, OnlyRanksAboveMayDial) {
  for (const int from : {0, 1, 4}) {
    TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
    TcpHandshake dialer = TcpHandshake::Dial(Self(from), 1);
    EXPECT_THAT(Carry(dialer, acceptor),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << from;
  }
  TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
  TcpHandshake lost = TcpHandshake::Dial(Self(3), 2);
  EXPECT_THAT(Carry(lost, acceptor),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("to=2")));
}

TEST(TcpHandshakeTest, WhatIsNoHelloIsRefused) {
  TcpHandshake acceptor = TcpHandshake::Accept(Self(1));
  std::string text = "GET / HTTP/1.1\r\nHost: a\r\n";
  text.resize(acceptor.wanted(), ' ');
  EXPECT_THAT(acceptor.Receive(text),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(DrawNonceTest, IsAnotherEachTime) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string first, DrawNonce());
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string second, DrawNonce());
  EXPECT_EQ(first.size(), 32u);
  EXPECT_NE(first, second);
}

}  // namespace
}  // namespace caravan::worker
