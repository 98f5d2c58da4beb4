#include "worker/agent/mark.h"

#include <dirent.h>
#include <unistd.h>

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/engine_environment.h"
#include "worker/agent/small_file.h"

namespace caravan::worker {
namespace {

// Linux allows more, but a mark is among the first variables of every process
// that an agent starts only by luck: read all that is plausible.
constexpr int64_t kMaxEnvironmentBytes = int64_t{4} << 20;

}  // namespace

absl::string_view Mark::identity() const {
  return absl::string_view(incarnation).substr(0, incarnation.find('-'));
}

std::string FormatMark(const Mark& mark) {
  return absl::StrCat(mark.incarnation, "/", mark.epoch.replica, "/",
                      mark.epoch.epoch);
}

std::optional<Mark> ParseMark(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '/');
  Mark mark;
  if (parts.size() != 3 || parts[0].empty() ||
      !absl::SimpleAtoi(parts[1], &mark.epoch.replica) ||
      !absl::SimpleAtoi(parts[2], &mark.epoch.epoch)) {
    return std::nullopt;
  }
  mark.incarnation = std::string(parts[0]);
  return mark;
}

std::optional<Mark> FindMark(absl::string_view environment) {
  const std::string prefix = absl::StrCat(kMarkVariable, "=");
  for (absl::string_view variable : absl::StrSplit(environment, '\0')) {
    if (absl::ConsumePrefix(&variable, prefix)) return ParseMark(variable);
  }
  return std::nullopt;
}

std::optional<Mark> ReadMark(pid_t pid) {
  const absl::StatusOr<std::string> environment = ReadSmallFile(
      absl::StrCat("/proc/", pid, "/environ"), kMaxEnvironmentBytes);
  if (!environment.ok()) return std::nullopt;
  return FindMark(*environment);
}

std::vector<MarkedProcess> FindMarked(
    const std::function<bool(const Mark&)>& wanted) {
  std::vector<MarkedProcess> found;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir("/proc"), closedir);
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder.get())) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry->d_name, &pid) || pid == getpid()) continue;
    std::optional<Mark> mark = ReadMark(pid);
    if (mark && wanted(*mark)) found.push_back({pid, *std::move(mark)});
  }
  return found;
}

}  // namespace caravan::worker
