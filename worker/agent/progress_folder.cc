#include "worker/agent/progress_folder.h"

#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {

std::vector<EngineProgressSnapshot> ReadProgressFolder(
    const std::string& folder, const EpochKey& key) {
  namespace fs = std::filesystem;
  std::vector<EngineProgressSnapshot> engines;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    absl::string_view stem = name;
    int64_t pid = 0;
    if (!absl::ConsumeSuffix(&stem, ".progress") ||
        !absl::SimpleAtoi(stem, &pid)) {
      continue;
    }
    const absl::StatusOr<EngineProgressSnapshot> page =
        ReadProgress(it->path().string());
    if (page.ok() && page->pid == pid && page->replica == key.replica &&
        page->epoch == key.epoch) {
      engines.push_back(*page);
    }
  }
  return engines;
}

int64_t ResidentBytes(pid_t pid) {
  const absl::StatusOr<std::string> statm =
      ReadSmallFile(absl::StrCat("/proc/", pid, "/statm"), 256);
  if (!statm.ok()) return 0;
  const std::vector<absl::string_view> fields = absl::StrSplit(*statm, ' ');
  int64_t pages = 0;
  if (fields.size() < 2 || !absl::SimpleAtoi(fields[1], &pages)) return 0;
  return pages * sysconf(_SC_PAGESIZE);
}

}  // namespace caravan::worker
