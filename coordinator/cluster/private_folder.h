// A folder of this process alone, for what must not be seen by other users.
#ifndef CARAVAN_COORDINATOR_CLUSTER_PRIVATE_FOLDER_H_
#define CARAVAN_COORDINATOR_CLUSTER_PRIVATE_FOLDER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Made under a name that nobody else uses, so that coordinators never trip over
// each other; removed with all that is in it by the destructor.
class PrivateFolder final {
 public:
  // Below $XDG_RUNTIME_DIR, /run (root), $TMPDIR or /tmp, whichever is there
  // and short enough for sockets. What errno says when none can be used.
  static absl::StatusOr<std::unique_ptr<PrivateFolder>> Create();
  ~PrivateFolder();
  PrivateFolder(const PrivateFolder&) = delete;
  PrivateFolder& operator=(const PrivateFolder&) = delete;

  const std::string& path() const { return path_; }

 private:
  explicit PrivateFolder(std::string path) : path_(std::move(path)) {}
  const std::string path_;
};

// 64 hexadecimal digits from the kernel's random numbers.
absl::StatusOr<std::string> DrawToken();

// A new file that only this user can read. kAlreadyExists.
absl::Status WriteSecretFile(const std::string& path,
                             absl::string_view content);

// The token in a file, white space around it left out. kNotFound;
// kPermissionDenied when other users can read it; kInvalidArgument when it is
// too short to be a secret or too long.
absl::StatusOr<std::string> ReadTokenFile(const std::string& path);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_CLUSTER_PRIVATE_FOLDER_H_
