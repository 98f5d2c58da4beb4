#include "coordinator/cluster/private_folder.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace caravan::coordinator {
namespace {

// An agent's folder and its sockets come below (at most 108 bytes).
constexpr size_t kMaxBytes = 60;
constexpr size_t kMinTokenBytes = 8;
constexpr size_t kMaxTokenBytes = 1024;

bool IsUsable(absl::string_view path) {
  if (path.empty() || path[0] != '/' || path.size() > kMaxBytes) return false;
  for (const char c : path) {
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) &&
        absl::string_view("/._-+").find(c) == absl::string_view::npos) {
      return false;
    }
  }
  return true;
}

std::vector<std::string> Parents() {
  std::vector<std::string> parents;
  for (const char* variable : {"XDG_RUNTIME_DIR", "TMPDIR"}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && IsUsable(value)) parents.push_back(value);
  }
  if (geteuid() == 0) parents.insert(parents.begin(), "/run");
  parents.push_back("/tmp");
  return parents;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrivateFolder>> PrivateFolder::Create() {
  int error = ENOENT;
  for (const std::string& parent : Parents()) {
    std::string path = absl::StrCat(parent, "/caravan-XXXXXX");
    if (mkdtemp(path.data()) != nullptr) {  // mode 0700
      return std::unique_ptr<PrivateFolder>(new PrivateFolder(std::move(path)));
    }
    error = errno;
  }
  return absl::ErrnoToStatus(
      error, "cannot make a folder below $XDG_RUNTIME_DIR, $TMPDIR or /tmp");
}

PrivateFolder::~PrivateFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
  if (error) {
    LogWarning(absl::StrCat("cannot remove ", path_, ": ", error.message()));
  }
}

absl::StatusOr<std::string> DrawToken() {
  char bytes[32];
  if (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
    return absl::ErrnoToStatus(errno, "no random numbers to be had");
  }
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view content) {
  const int fd = open(
      path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", path));
  }
  const ssize_t written = write(fd, content.data(), content.size());
  const int error = errno;
  close(fd);
  if (written != static_cast<ssize_t>(content.size())) {
    return absl::ErrnoToStatus(written < 0 ? error : ENOSPC,
                               absl::StrCat("cannot write ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadTokenFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return absl::ErrnoToStatus(errno,
                               absl::StrCat("cannot open token file ", path));
  }
  struct stat info = {};
  std::string content(kMaxTokenBytes + 1, '\0');
  const bool is_private = fstat(fd, &info) == 0 && (info.st_mode & 0077) == 0;
  const ssize_t size = read(fd, content.data(), content.size());
  const int error = errno;
  close(fd);
  if (size < 0) {
    return absl::ErrnoToStatus(error,
                               absl::StrCat("cannot read token file ", path));
  }
  if (!is_private) {
    return absl::PermissionDeniedError(
        absl::StrCat("other users can read the token file: chmod 600 ", path));
  }
  content.resize(size);
  const std::string token(absl::StripAsciiWhitespace(content));
  if (token.size() < kMinTokenBytes || token.size() > kMaxTokenBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("the token in ", path, " has ", token.size(),
                     " characters; ", kMinTokenBytes, " to ", kMaxTokenBytes,
                     " are possible: openssl rand -hex 32 > ", path));
  }
  return token;
}

}  // namespace caravan::coordinator
