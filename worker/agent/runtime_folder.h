// The folder in which an agent keeps what lives as long as its processes:
// sockets, progress pages, Open MPI's session folders.
#ifndef CARAVAN_WORKER_AGENT_RUNTIME_FOLDER_H_
#define CARAVAN_WORKER_AGENT_RUNTIME_FOLDER_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "worker/agent/epoch_key.h"

namespace caravan::worker {

struct EpochFolders {
  std::string progress;       // of progress pages
  std::string session;        // Open MPI's session folders
  std::string shared_memory;  // its shared segments, in memory where possible
};

// Belongs to one agent at a time, by a lock that ends with the process. Keeps
// the identity by which a restarted agent knows its predecessor's processes.
// One thread.
class RuntimeFolder final {
 public:
  // Makes the folder when it is missing. kInvalidArgument: a path that Open MPI
  // or a socket cannot take; kPermissionDenied: somebody else's folder;
  // kAlreadyExists: another agent holds it.
  static absl::StatusOr<std::unique_ptr<RuntimeFolder>> Open(std::string path);

  const std::string& path() const { return path_; }
  const std::string& identity() const { return identity_; }
  std::string relay_socket() const { return path_ + "/relay.socket"; }
  // Comes first in the PATH of everything that is started; see Link().
  std::string programs() const { return path_ + "/bin"; }

  // Gives `program` the path programs()/`name`: the same name on every node,
  // and without spaces, for mpirun.
  absl::Status Link(const std::string& program, absl::string_view name);

  absl::StatusOr<EpochFolders> CreateEpoch(const EpochKey& key);
  EpochFolders Folders(const EpochKey& key) const;
  // Epochs of which something is left here.
  std::vector<EpochKey> Epochs() const;
  absl::Status RemoveEpoch(const EpochKey& key);

 private:
  RuntimeFolder(std::string path, UniqueFd lock, std::string identity)
      : path_(std::move(path)),
        lock_(std::move(lock)),
        identity_(std::move(identity)) {}

  std::string EpochFolder(const EpochKey& key) const;

  const std::string path_;
  const UniqueFd lock_;
  const std::string identity_;
};

// Where an agent of this node keeps it unless told otherwise: below
// $XDG_RUNTIME_DIR, or /run for root, or $TMPDIR or /tmp.
std::string DefaultRuntimeFolder(absl::string_view node);

// 16 hexadecimal digits from the kernel's random numbers.
std::string DrawHexId();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_RUNTIME_FOLDER_H_
