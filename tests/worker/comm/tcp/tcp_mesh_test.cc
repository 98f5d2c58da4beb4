// Connections between two ranks, and what a peer may send that is no message.
#include "worker/comm/tcp/tcp_mesh.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::StatusIs;
using ::testing::HasSubstr;

constexpr TcpStream kStream = {.group = 3, .channel = Channel::kPointToPoint};
constexpr TcpStream kOther = {.group = 3, .channel = Channel::kCollective};

struct Ends {
  UniqueFd ours;
  UniqueFd theirs;
};

Ends Connect() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

absl::Span<const std::byte> Bytes(absl::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

// A rank whose only peer is `peer`.
class Rank final {
 public:
  Rank(int rank, UniqueFd connection) : peer_(1 - rank) {
    std::vector<UniqueFd> connections(2);
    connections[peer_] = std::move(connection);
    mesh_ = *TcpMesh::Start(rank, std::move(connections));
    waiter_ = std::make_shared<Waiter>(GroupOptions{
        .name = "test", .world_ranks = {0, 1}, .timeout = absl::Seconds(30)});
    for (const TcpStream& stream : {kStream, kOther}) {
      connection_of_peer().Open(stream, waiter_);
    }
  }

  TcpConnection& connection_of_peer() { return mesh_->peer(peer_); }

  absl::Status Send(absl::string_view text, TcpStream stream = kStream) {
    return connection_of_peer().Send(stream, Bytes(text));
  }

  // The next message, or why there will be none.
  absl::StatusOr<std::string> Receive(TcpStream stream = kStream) {
    TcpConnection& connection = connection_of_peer();
    SharedBuffer message;
    const absl::Status waited = waiter_->Await(
        waiter_->Begin("Receive"),
        [&] {
          message = connection.Take(stream);
          return message != nullptr || !connection.status().ok();
        },
        [] { return std::string("peer"); });
    if (!waited.ok()) return waited;
    // What came before the end counts.
    if (message == nullptr) message = connection.Take(stream);
    if (message == nullptr) return connection.status();
    return std::string(reinterpret_cast<const char*>(message->data()),
                       static_cast<size_t>(message->bytes()));
  }

 private:
  const int peer_;
  std::unique_ptr<TcpMesh> mesh_;
  std::shared_ptr<Waiter> waiter_;
};

// As rank 1 would send it, but for what a test makes wrong.
std::string Header(uint64_t bytes, uint32_t group, uint32_t channel) {
  std::string header;
  for (int i = 0; i < 8; ++i) header += static_cast<char>(bytes >> (8 * i));
  for (int i = 0; i < 4; ++i) header += static_cast<char>(group >> (8 * i));
  for (int i = 0; i < 4; ++i) header += static_cast<char>(channel >> (8 * i));
  return header;
}

void Write(const UniqueFd& fd, absl::string_view text) {
  ASSERT_EQ(write(fd.get(), text.data(), text.size()),
            static_cast<ssize_t>(text.size()));
}

TEST(TcpMeshTest, MessagesOfAStreamStayWholeAndInOrder) {
  Ends ends = Connect();
  Rank a(0, std::move(ends.ours));
  Rank b(1, std::move(ends.theirs));
  // Empty, small, and more than any socket takes at once.
  const std::vector<std::string> sent = {"", "x", std::string(16 << 20, 'y'),
                                         "after it"};
  for (const std::string& text : sent) CARAVAN_ASSERT_OK(a.Send(text));
  CARAVAN_ASSERT_OK(b.Send("the other way"));
  for (const std::string& text : sent) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string got, b.Receive());
    EXPECT_TRUE(got == text) << got.size() << " bytes, not " << text.size();
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string got, a.Receive());
  EXPECT_EQ(got, "the other way");
  EXPECT_EQ(a.connection_of_peer().unsent_bytes(), 0);
}

TEST(TcpMeshTest, StreamsDoNotMix) {
  Ends ends = Connect();
  Rank a(0, std::move(ends.ours));
  Rank b(1, std::move(ends.theirs));
  CARAVAN_ASSERT_OK(a.Send("one"));
  CARAVAN_ASSERT_OK(a.Send("two", kOther));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string second, b.Receive(kOther));
  EXPECT_EQ(second, "two");
  EXPECT_TRUE(b.connection_of_peer().Has(kStream));
  EXPECT_FALSE(b.connection_of_peer().Has(kOther));
  b.connection_of_peer().Close(kStream);  // and what it holds
  EXPECT_FALSE(b.connection_of_peer().Has(kStream));
}

TEST(TcpMeshTest, AFrameMayComeInPieces) {
  Ends ends = Connect();
  Rank rank(0, std::move(ends.ours));
  const std::string frame = Header(5, 3, 1) + "hello" + Header(0, 3, 1);
  for (const char c : frame) Write(ends.theirs, std::string(1, c));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string hello, rank.Receive());
  EXPECT_EQ(hello, "hello");
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string empty, rank.Receive());
  EXPECT_EQ(empty, "");
}

TEST(TcpMeshTest, WhatIsNoFrameEndsTheConnection) {
  const std::string wrong[] = {
      Header(uint64_t{1} << 31, 3, 1),  // more than a message may have
      Header(~uint64_t{0}, 3, 1),
      Header(5, 3, 2),  // no channel
      std::string(16, '\xff'),
  };
  for (const std::string& header : wrong) {
    Ends ends = Connect();
    Rank rank(0, std::move(ends.ours));
    Write(ends.theirs, header + "hello");
    EXPECT_THAT(rank.Receive(),
                StatusIs(absl::StatusCode::kInternal, HasSubstr("no message")));
    EXPECT_THAT(rank.Send("answer"), StatusIs(absl::StatusCode::kInternal));
  }
}

TEST(TcpMeshTest, APeersEndIsKeptAndWhatItSentBefore) {
  Ends ends = Connect();
  Rank rank(0, std::move(ends.ours));
  Write(ends.theirs, Header(5, 3, 1) + "hello" + Header(100, 3, 1) + "cut");
  ends.theirs.Reset();
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string hello, rank.Receive());
  EXPECT_EQ(hello, "hello");
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(rank.Receive(), StatusIs(absl::StatusCode::kUnavailable,
                                         HasSubstr("closed the connection")));
  }
  EXPECT_THAT(rank.Send("late"), StatusIs(absl::StatusCode::kUnavailable));
  EXPECT_EQ(rank.connection_of_peer().unsent_bytes(), 0);
}

TEST(TcpMeshTest, ARankThatNeverCameIsAnEndedConnection) {
  Rank rank(0, UniqueFd());
  EXPECT_THAT(rank.Receive(), StatusIs(absl::StatusCode::kUnavailable,
                                       HasSubstr("no connection")));
  EXPECT_THAT(rank.Send("x"), StatusIs(absl::StatusCode::kUnavailable));
}

TEST(TcpMeshTest, WhatWasSentLeavesBeforeTheEnd) {
  Ends ends = Connect();
  const std::string text(4 << 20, 'z');
  Rank b(1, std::move(ends.theirs));
  {
    Rank a(0, std::move(ends.ours));
    CARAVAN_ASSERT_OK(a.Send(text));
  }
  CARAVAN_ASSERT_OK_AND_ASSIGN(const std::string got, b.Receive());
  EXPECT_TRUE(got == text) << got.size();
}

}  // namespace
}  // namespace caravan::worker
