#include "worker/comm/tcp/tcp_listener.h"

#include <poll.h>
#include <sys/socket.h>

#include <string>

#include "absl/strings/match.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;

TEST(TcpListenerTest, IsFoundAtItsEndpoint) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const TcpListener listener,
                                 TcpListener::Open(address));
    EXPECT_TRUE(absl::StrContains(listener.endpoint(), address));
    CARAVAN_ASSERT_OK_AND_ASSIGN(const UniqueFd fd,
                                 DialTcp(listener.endpoint()));
    pollfd polled = {listener.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&polled, 1, 10'000), 1) << listener.endpoint();
    const UniqueFd accepted(accept(listener.fd(), nullptr, nullptr));
    EXPECT_TRUE(accepted.valid());
    CARAVAN_EXPECT_OK(TuneTcp(accepted.get()));
  }
}

TEST(TcpListenerTest, WhatIsNoAddressIsRefused) {
  for (const char* address : {"", "localhost", "10.0.0.1/24", "[::1]"}) {
    EXPECT_THAT(TcpListener::Open(address).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << address;
  }
  for (const char* endpoint :
       {"", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536", "node-a:7000"}) {
    EXPECT_THAT(DialTcp(endpoint).status(),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << endpoint;
  }
}

}  // namespace
}  // namespace caravan::worker
