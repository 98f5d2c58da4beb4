// How all ranks of an epoch come to be connected, each with each.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_MEETING_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_MEETING_H_

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "worker/comm/tcp/tcp_handshake.h"
#include "worker/comm/tcp/tcp_listener.h"
#include "worker/comm/tcp/tcp_world.h"

namespace caravan::worker {

// Dials every rank below its own and is dialed by every rank above; all
// handshakes go on side by side, so that nobody who dials and is silent holds
// up the others. One thread.
class TcpMeeting final {
 public:
  TcpMeeting(TcpListener listener, const TcpWorldOptions& options);

  // Blocks, as JoinTcpWorld. The connections by rank; the own one is empty.
  absl::StatusOr<std::vector<UniqueFd>> Hold();

 private:
  // A connection on which the ends make sure of each other.
  struct Guest {
    UniqueFd fd;
    TcpHandshake handshake;
    bool is_dialed = false;
    bool is_connected = false;
    std::string unsent;
  };

  absl::Status DialAll();
  absl::Status Accept();
  absl::StatusOr<TcpHandshake::Self> MakeSelf() const;
  // Goes on with whoever has something to say.
  absl::Status Poll();
  // Takes the guest as far as it goes without waiting.
  absl::Status Advance(Guest& guest);
  absl::Status FinishConnecting(Guest& guest);
  absl::Status SendUnsent(Guest& guest);
  absl::Status ReceiveSome(Guest& guest);
  // The guest has proved to be a rank.
  absl::Status Seat(Guest& guest);
  absl::Status Annotated(const Guest& guest, const absl::Status& status) const;
  std::vector<int> Missing() const;

  const TcpWorldOptions& options_;
  TcpListener listener_;
  const std::chrono::steady_clock::time_point deadline_;
  std::vector<Guest> guests_;
  std::vector<UniqueFd> seats_;  // by rank
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_MEETING_H_
