#include "worker/agent/relay_message.h"

#include <sys/socket.h>

#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace caravan::worker {

absl::StatusOr<std::string> EncodeArguments(
    absl::Span<const std::string> arguments) {
  std::string message;
  for (const std::string& argument : arguments) {
    if (argument.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError("a zero byte in an argument");
    }
    message.append(argument);
    message.push_back('\0');
    if (message.size() > kMaxRelayMessageBytes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the arguments have more than ", kMaxRelayMessageBytes, " bytes"));
    }
  }
  return message;
}

absl::StatusOr<std::vector<std::string>> DecodeArguments(
    absl::string_view message) {
  if (message.empty() || message.back() != '\0') {
    return absl::InvalidArgumentError("the relay's message is cut short");
  }
  message.remove_suffix(1);
  return std::vector<std::string>(absl::StrSplit(message, '\0'));
}

std::string EncodeAnswer(const absl::Status& status) {
  return absl::StrCat(static_cast<int>(status.code()), ":",
                      status.message().substr(0, 4096));
}

absl::Status DecodeAnswer(absl::string_view message) {
  const std::vector<absl::string_view> parts =
      absl::StrSplit(message, absl::MaxSplits(':', 1));
  int code = 0;
  if (parts.size() != 2 || !absl::SimpleAtoi(parts[0], &code)) {
    return absl::InternalError("the agent's answer is not understood");
  }
  return absl::Status(static_cast<absl::StatusCode>(code), parts[1]);
}

absl::StatusOr<sockaddr_un> SocketAddress(absl::string_view path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a socket's path must have 1 to ",
                     sizeof(address.sun_path) - 1, " bytes: ", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace caravan::worker
