#include "worker/comm/tcp/tcp_handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace caravan::worker {
namespace {

constexpr absl::string_view kMagic = "CARAVAN\x01";
constexpr size_t kNonceBytes = 32;
constexpr size_t kMacBytes = 32;
constexpr size_t kRankBytes = sizeof(uint32_t);
constexpr size_t kHelloBytes = kMagic.size() + 2 * kRankBytes + kNonceBytes;
constexpr size_t kAnswerBytes = kNonceBytes + kMacBytes;
constexpr absl::string_view kDialer = "dialer";
constexpr absl::string_view kAcceptor = "acceptor";

std::string EncodeRank(int rank) {
  const uint32_t value = static_cast<uint32_t>(rank);
  std::string bytes(sizeof(value), '\0');
  for (size_t i = 0; i < sizeof(value); ++i) {
    bytes[i] = static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

int64_t DecodeRank(absl::string_view bytes) {
  uint32_t value = 0;
  for (size_t i = 0; i < sizeof(value); ++i) {
    value |= uint32_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
  }
  return value;
}

}  // namespace

TcpHandshake::TcpHandshake(State state, Self self, int peer)
    : state_(state), self_(std::move(self)), peer_(peer) {}

TcpHandshake TcpHandshake::Dial(Self self, int peer) {
  TcpHandshake handshake(State::kAwaitAnswer, std::move(self), peer);
  handshake.dialer_ = handshake.self_.rank;
  handshake.acceptor_ = peer;
  handshake.dialer_nonce_ = handshake.self_.nonce;
  handshake.output_ =
      absl::StrCat(kMagic, EncodeRank(handshake.dialer_),
                   EncodeRank(handshake.acceptor_), handshake.dialer_nonce_);
  return handshake;
}

TcpHandshake TcpHandshake::Accept(Self self) {
  TcpHandshake handshake(State::kAwaitHello, std::move(self), -1);
  handshake.acceptor_ = handshake.self_.rank;
  handshake.acceptor_nonce_ = handshake.self_.nonce;
  return handshake;
}

std::string TcpHandshake::TakeOutput() {
  return std::exchange(output_, std::string());
}

size_t TcpHandshake::wanted() const {
  switch (state_) {
    case State::kAwaitHello:
      return kHelloBytes - input_.size();
    case State::kAwaitAnswer:
      return kAnswerBytes - input_.size();
    case State::kAwaitProof:
      return kMacBytes - input_.size();
    case State::kDone:
      return 0;
  }
  return 0;
}

absl::Status TcpHandshake::Receive(absl::string_view bytes) {
  absl::StrAppend(&input_, bytes);
  if (wanted() > 0) return absl::OkStatus();
  absl::Status status;
  switch (state_) {
    case State::kAwaitHello:
      status = OnHello();
      break;
    case State::kAwaitAnswer:
      status = OnAnswer();
      break;
    case State::kAwaitProof:
      status = OnProof();
      break;
    case State::kDone:
      break;
  }
  input_.clear();
  return status;
}

absl::Status TcpHandshake::OnHello() {
  absl::string_view hello = input_;
  const int64_t from = DecodeRank(hello.substr(kMagic.size()));
  const int64_t to = DecodeRank(hello.substr(kMagic.size() + kRankBytes));
  if (!absl::StartsWith(hello, kMagic) || to != self_.rank ||
      from <= self_.rank || from >= self_.num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("not a rank of this epoch that looks for rank ",
                     self_.rank, ": from=", from, " to=", to));
  }
  dialer_ = peer_ = static_cast<int>(from);
  dialer_nonce_ = std::string(hello.substr(kMagic.size() + 2 * kRankBytes));
  output_ = absl::StrCat(acceptor_nonce_, Proof(kAcceptor));
  state_ = State::kAwaitProof;
  return absl::OkStatus();
}

absl::Status TcpHandshake::OnAnswer() {
  acceptor_nonce_ = input_.substr(0, kNonceBytes);
  if (absl::Status status =
          CheckProof(kAcceptor, absl::string_view(input_).substr(kNonceBytes));
      !status.ok()) {
    return status;
  }
  output_ = Proof(kDialer);
  state_ = State::kDone;
  return absl::OkStatus();
}

absl::Status TcpHandshake::OnProof() {
  state_ = State::kDone;
  return CheckProof(kDialer, input_);
}

std::string TcpHandshake::Proof(absl::string_view role) const {
  const std::string text =
      absl::StrCat(role, EncodeRank(dialer_), EncodeRank(acceptor_),
                   dialer_nonce_, acceptor_nonce_);
  unsigned char mac[EVP_MAX_MD_SIZE] = {};
  unsigned int size = 0;
  HMAC(EVP_sha256(), self_.secret.data(), static_cast<int>(self_.secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac,
       &size);
  return std::string(reinterpret_cast<const char*>(mac), kMacBytes);
}

absl::Status TcpHandshake::CheckProof(absl::string_view role,
                                      absl::string_view proof) const {
  const std::string expected = Proof(role);
  if (proof.size() == expected.size() &&
      CRYPTO_memcmp(proof.data(), expected.data(), expected.size()) == 0) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      "rank ", peer_, " does not know this epoch's secret: it is of another"));
}

absl::StatusOr<std::string> DrawNonce() {
  std::string nonce(kNonceBytes, '\0');
  if (getrandom(nonce.data(), nonce.size(), 0) !=
      static_cast<ssize_t>(nonce.size())) {
    return absl::ErrnoToStatus(errno, "no random bytes");
  }
  return nonce;
}

}  // namespace caravan::worker
