// How two ranks that meet on a connection make sure of each other.
#ifndef CARAVAN_WORKER_COMM_TCP_TCP_HANDSHAKE_H_
#define CARAVAN_WORKER_COMM_TCP_TCP_HANDSHAKE_H_

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::worker {

// Both ends hold the epoch's secret, which travelled over the control plane.
// The dialer says who it is, each end sends a fresh nonce, and each proves with
// a MAC over both nonces, both ranks and its role that it knows the secret
// (HMAC-SHA-256, RFC 2104). So ranks of another epoch and strangers are turned
// away, and nothing that was recorded can be played again. What follows on the
// connection is neither encrypted nor authenticated.
//
// A state machine without input or output of its own: TakeOutput() is to be
// sent, Receive() gets what came, until done(). One thread.
class TcpHandshake final {
 public:
  struct Self {
    int rank = 0;
    int num_ranks = 1;
    std::string secret;  // of the epoch
    std::string nonce;   // DrawNonce(), for this connection only
  };

  // The end that dialed rank `peer`.
  static TcpHandshake Dial(Self self, int peer);
  // The end that was dialed, by a rank above its own; which one shows later.
  static TcpHandshake Accept(Self self);

  // What is to be sent now; each byte once.
  std::string TakeOutput();

  // Bytes that it still waits for.
  size_t wanted() const;
  // `bytes`: at most wanted(). kPermissionDenied: not the same secret;
  // kInvalidArgument: no rank of ours. Then it is over.
  absl::Status Receive(absl::string_view bytes);

  // All has been said and heard.
  bool done() const { return state_ == State::kDone && output_.empty(); }
  int peer() const { return peer_; }  // -1: not known yet

 private:
  enum class State { kAwaitHello, kAwaitAnswer, kAwaitProof, kDone };

  TcpHandshake(State state, Self self, int peer);
  absl::Status OnHello();
  absl::Status OnAnswer();
  absl::Status OnProof();
  // Of the dialer or of the acceptor.
  std::string Proof(absl::string_view role) const;
  absl::Status CheckProof(absl::string_view role,
                          absl::string_view proof) const;

  State state_;
  Self self_;
  int peer_;
  std::string dialer_nonce_;
  std::string acceptor_nonce_;
  int dialer_ = -1;
  int acceptor_ = -1;
  std::string input_;
  std::string output_;
};

// 32 bytes that nobody can guess.
absl::StatusOr<std::string> DrawNonce();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_COMM_TCP_TCP_HANDSHAKE_H_
