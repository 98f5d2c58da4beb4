#include "worker/agent/runtime_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

namespace fs = std::filesystem;

// A socket's path has 108 bytes, the name in it 13.
constexpr size_t kMaxPathBytes = 90;
constexpr char kSharedMemory[] = "/dev/shm";

bool IsPlainPath(absl::string_view path) {
  return !path.empty() && path[0] == '/' &&
         std::all_of(path.begin(), path.end(), [](char c) {
           return absl::ascii_isalnum(c) ||
                  absl::string_view("/._-+").find(c) != absl::string_view::npos;
         });
}

// Whoever owns the parent could put another folder in our folder's place.
absl::Status MakeParent(const std::string& path) {
  std::error_code error;
  const std::string parent = fs::path(path).parent_path().string();
  fs::create_directories(parent, error);
  struct stat info = {};
  if (stat(parent.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", parent));
  }
  const bool trusted = info.st_uid == geteuid() || info.st_uid == 0;
  const bool shared = (info.st_mode & 0022) != 0;
  if (trusted && (!shared || (info.st_mode & S_ISVTX) != 0)) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError(absl::StrCat(
      parent, " belongs to another user or can be changed by others"));
}

absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", path));
  }
  struct stat info = {};
  if (lstat(path.c_str(), &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot look at ", path));
  }
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " is not a folder of this user"));
  }
  if ((info.st_mode & 0077) != 0 && chmod(path.c_str(), 0700) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot protect ", path));
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);  // does not follow links
  if (!error) return absl::OkStatus();
  return absl::InternalError(
      absl::StrCat("cannot remove ", path, ": ", error.message()));
}

absl::StatusOr<UniqueFd> Lock(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/lock");
  UniqueFd fd(
      open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  }
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::AlreadyExistsError(
        absl::StrCat("another agent is running with the runtime folder ",
                     folder, "; give this one its own with --runtime-dir"));
  }
  return fd;
}

absl::StatusOr<std::string> Identity(const std::string& folder) {
  const std::string path = absl::StrCat(folder, "/identity");
  absl::StatusOr<std::string> known = ReadSmallFile(path, 64);
  if (known.ok() && known->size() == 16 &&
      std::all_of(known->begin(), known->end(), absl::ascii_isxdigit)) {
    return known;
  }
  std::string drawn = DrawHexId();
  CARAVAN_RETURN_IF_ERROR(WriteSmallFile(path, drawn));
  return drawn;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RuntimeFolder>> RuntimeFolder::Open(
    std::string path) {
  std::error_code error;
  path = fs::absolute(path, error).lexically_normal().string();
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (error || !IsPlainPath(path) || path.size() > kMaxPathBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the runtime folder's path must have at most ", kMaxPathBytes,
        " letters, digits or any of /._-+ : ", path));
  }
  CARAVAN_RETURN_IF_ERROR(MakeParent(path));
  CARAVAN_RETURN_IF_ERROR(MakeFolder(path));
  CARAVAN_ASSIGN_OR_RETURN(UniqueFd lock, Lock(path));
  CARAVAN_ASSIGN_OR_RETURN(std::string identity, Identity(path));
  CARAVAN_RETURN_IF_ERROR(MakeFolder(absl::StrCat(path, "/bin")));
  return std::unique_ptr<RuntimeFolder>(
      new RuntimeFolder(std::move(path), std::move(lock), std::move(identity)));
}

absl::Status RuntimeFolder::Link(const std::string& program,
                                 absl::string_view name) {
  const std::string link = absl::StrCat(programs(), "/", name);
  if (unlink(link.c_str()) != 0 && errno != ENOENT) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot replace ", link));
  }
  if (symlink(program.c_str(), link.c_str()) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot make ", link));
  }
  return absl::OkStatus();
}

std::string RuntimeFolder::EpochFolder(const EpochKey& key) const {
  return absl::StrCat(path_, "/r", key.replica, ".e", key.epoch);
}

EpochFolders RuntimeFolder::Folders(const EpochKey& key) const {
  const std::string folder = EpochFolder(key);
  const bool in_memory = access(kSharedMemory, W_OK) == 0;
  return {.progress = absl::StrCat(folder, "/progress"),
          .session = absl::StrCat(folder, "/session"),
          .shared_memory =
              in_memory ? absl::StrCat(kSharedMemory, "/caravan.", identity_,
                                       ".r", key.replica, ".e", key.epoch)
                        : absl::StrCat(folder, "/shared")};
}

absl::StatusOr<EpochFolders> RuntimeFolder::CreateEpoch(const EpochKey& key) {
  EpochFolders folders = Folders(key);
  for (const std::string& folder : {EpochFolder(key), folders.progress,
                                    folders.session, folders.shared_memory}) {
    CARAVAN_RETURN_IF_ERROR(MakeFolder(folder));
  }
  return folders;
}

std::vector<EpochKey> RuntimeFolder::Epochs() const {
  std::vector<EpochKey> keys;
  std::error_code error;
  for (fs::directory_iterator it(path_, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    absl::string_view text = name;
    const std::vector<absl::string_view> parts =
        absl::StrSplit(absl::StripPrefix(text, "r"), ".e");
    EpochKey key;
    if (absl::ConsumePrefix(&text, "r") && parts.size() == 2 &&
        absl::SimpleAtoi(parts[0], &key.replica) &&
        absl::SimpleAtoi(parts[1], &key.epoch)) {
      keys.push_back(key);
    }
  }
  return keys;
}

absl::Status RuntimeFolder::RemoveEpoch(const EpochKey& key) {
  // The folder that tells of the epoch goes last.
  CARAVAN_RETURN_IF_ERROR(RemoveTree(Folders(key).shared_memory));
  return RemoveTree(EpochFolder(key));
}

std::string DefaultRuntimeFolder(absl::string_view node) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && access(runtime, W_OK) == 0) {
    return absl::StrCat(runtime, "/caravan/", node);
  }
  const char* temporary = std::getenv("TMPDIR");
  if (temporary == nullptr && geteuid() == 0 && access("/run", W_OK) == 0) {
    return absl::StrCat("/run/caravan/", node);
  }
  return absl::StrCat(temporary == nullptr ? "/tmp" : temporary, "/caravan-",
                      geteuid(), "/", node);
}

std::string DrawHexId() {
  uint64_t value = 0;
  // Up to 256 bytes never come short.
  while (getrandom(&value, sizeof(value), 0) != sizeof(value)) {
  }
  return absl::StrCat(absl::Hex(value, absl::kZeroPad16));
}

}  // namespace caravan::worker
