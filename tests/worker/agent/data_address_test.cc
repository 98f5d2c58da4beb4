#include "worker/agent/data_address.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;

TEST(ParseHostPortTest, ReadsNamesAndAddresses) {
  const struct {
    const char* text;
    const char* host;
    int port;
  } cases[] = {{"10.0.0.1:7000", "10.0.0.1", 7000},
               {"node-a:1", "node-a", 1},
               {"[::1]:65535", "::1", 65535}};
  for (const auto& c : cases) {
    const absl::StatusOr<HostPort> parsed = ParseHostPort(c.text);
    CARAVAN_ASSERT_OK(parsed);
    EXPECT_EQ(parsed->host, c.host);
    EXPECT_EQ(parsed->port, c.port);
  }
}

TEST(ParseHostPortTest, RefusesTheRest) {
  for (const char* text : {"", "a", ":1", "a:", "a:0", "a:65536", "a:-1", "a:x",
                           "::1:7000", "[::1]", "[::1:7000"}) {
    EXPECT_THAT(ParseHostPort(text),
                StatusIs(absl::StatusCode::kInvalidArgument))
        << text;
  }
  EXPECT_THAT(ParseHostPort("[a]:1"),
              StatusIs(absl::StatusCode::kInvalidArgument));
}

TEST(IsLoopbackTest, GoesByTheSpelling) {
  for (const char* host :
       {"localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"}) {
    EXPECT_TRUE(IsLoopback(host)) << host;
  }
  for (const char* host : {"", "10.0.0.1", "0.0.0.0", "128.0.0.1",
                           "::", "localhost.example.org", "127.0.0.1.nip.io"}) {
    EXPECT_FALSE(IsLoopback(host)) << host;
  }
}

TEST(FindDataAddressTest, IsTheOwnEndOfTheRoute) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const DataAddress found,
                               FindDataAddress({"127.0.0.1", 7000}));
  EXPECT_EQ(found.address, "127.0.0.1/8");
  EXPECT_EQ(found.interface, "lo");
  EXPECT_THAT(FindDataAddress({"not a host name", 7000}),
              StatusIs(absl::StatusCode::kUnavailable));
}

}  // namespace
}  // namespace caravan::worker
