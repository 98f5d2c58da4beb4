#include "coordinator/text/folder.h"

#include <sys/stat.h>

#include <string>

namespace caravan::coordinator {

bool IsFolder(absl::string_view path) {
  struct stat info;
  return ::stat(std::string(path).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace caravan::coordinator
