#include "worker/agent/gpu_inventory.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "nlohmann/json.hpp"
#include "worker/agent/exit_reason.h"
#include "worker/agent/launch_environment.h"
#include "worker/agent/pidfd.h"
#include "worker/agent/spawner.h"

namespace caravan::worker {
namespace {

using Json = nlohmann::json;

// More than any machine's GPUs take.
constexpr size_t kMostOutput = size_t{1} << 20;
constexpr absl::Duration kKillPatience = absl::Seconds(1);

absl::StatusOr<std::string> Text(const Json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_string()) {
    return absl::InvalidArgumentError(absl::StrCat("no text \"", field, "\""));
  }
  return found->get<std::string>();
}

absl::StatusOr<std::vector<std::string>> Texts(const Json& object,
                                               const char* field) {
  const auto found = object.find(field);
  if (found == object.end() || !found->is_array()) {
    return absl::InvalidArgumentError(absl::StrCat("no list \"", field, "\""));
  }
  std::vector<std::string> texts;
  for (const Json& text : *found) {
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat("no texts in \"", field, "\""));
    }
    texts.push_back(text.get<std::string>());
  }
  return texts;
}

absl::StatusOr<Gpu> ParseGpu(const Json& object) {
  if (!object.is_object()) {
    return absl::InvalidArgumentError("a device is no object");
  }
  Gpu gpu;
  for (const auto& [field, place] :
       {std::pair{"uuid", &gpu.uuid}, std::pair{"name", &gpu.name},
        std::pair{"pci_address", &gpu.pci_address},
        std::pair{"compute_capability", &gpu.compute_capability}}) {
    absl::StatusOr<std::string> text = Text(object, field);
    if (!text.ok()) return text.status();
    *place = *std::move(text);
  }
  const auto memory = object.find("memory_bytes");
  if (memory == object.end() || !memory->is_number_unsigned()) {
    return absl::InvalidArgumentError("no number \"memory_bytes\"");
  }
  gpu.memory_bytes = memory->get<int64_t>();
  for (const auto& [field, place] :
       {std::pair{"peers", &gpu.peers},
        std::pair{"broken_peers", &gpu.broken_peers}}) {
    absl::StatusOr<std::vector<std::string>> texts = Texts(object, field);
    if (!texts.ok()) return texts.status();
    *place = *std::move(texts);
  }
  return gpu;
}

GpuInventory None(std::string problem) {
  return {.problem = std::move(problem)};
}

// Waits until `fd` has something or has ended; false: not by `deadline`.
bool Await(int fd, absl::Time deadline, Clock& clock) {
  while (true) {
    const int64_t left = absl::ToInt64Milliseconds(deadline - clock.Now());
    if (left <= 0) return false;
    pollfd polled = {fd, POLLIN, 0};
    if (poll(&polled, 1, static_cast<int>(left)) > 0) return true;
  }
}

// Reads to the end of `output`; false: it has not ended by `deadline`.
bool ReadAll(int output, absl::Time deadline, Clock& clock, std::string* text) {
  char buffer[4096];
  while (text->size() < kMostOutput) {
    if (!Await(output, deadline, clock)) return false;
    const ssize_t count = read(output, buffer, sizeof(buffer));
    if (count == 0) return true;
    if (count > 0) text->append(buffer, static_cast<size_t>(count));
    if (count < 0 && errno != EINTR && errno != EAGAIN) return false;
  }
  return false;
}

}  // namespace

absl::StatusOr<GpuInventory> ParseGpuInventory(absl::string_view output) {
  const std::vector<absl::string_view> lines = absl::StrSplit(output, '\n');
  const auto line = std::find_if(
      lines.rbegin(), lines.rend(),
      [](absl::string_view text) { return absl::StartsWith(text, "{"); });
  if (line == lines.rend()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no list of devices in: ", output.substr(0, 400)));
  }
  const Json json =
      Json::parse(line->begin(), line->end(), nullptr, /*exceptions=*/false);
  const auto devices = json.find("devices");
  if (!json.is_object() || devices == json.end() || !devices->is_array()) {
    return absl::InvalidArgumentError(
        absl::StrCat("no list of devices in: ", line->substr(0, 400)));
  }
  GpuInventory inventory;
  for (const auto& [field, place] :
       {std::pair{"driver", &inventory.driver},
        std::pair{"problem", &inventory.problem}}) {
    absl::StatusOr<std::string> text = Text(json, field);
    if (!text.ok()) return text.status();
    *place = *std::move(text);
  }
  for (const Json& device : *devices) {
    absl::StatusOr<Gpu> gpu = ParseGpu(device);
    if (!gpu.ok()) return gpu.status();
    inventory.gpus.push_back(*std::move(gpu));
  }
  if (inventory.gpus.empty() && inventory.problem.empty()) {
    inventory.problem = "the driver shows no GPU";
  }
  return inventory;
}

GpuInventory FindGpus(const std::string& program, absl::Duration timeout,
                      Clock& clock) {
  const absl::Time deadline = clock.Now() + timeout;
  absl::StatusOr<SpawnedProcess> process =
      Spawn({.program = program,
             .arguments = {"--devices"},
             .environment = InheritedEnvironment()});
  if (!process.ok()) return None(std::string(process.status().message()));
  std::string output;
  const bool answered =
      ReadAll(process->output.get(), deadline, clock, &output) &&
      Await(process->pidfd.get(), deadline, clock);
  if (!answered) {
    SignalPidfd(process->pidfd, SIGKILL);
    // What hangs in the driver does not die even of this.
    Await(process->pidfd.get(), clock.Now() + kKillPatience, clock);
  }
  const std::string reason = TakeExitReason(process->pidfd.get(), process->pid);
  if (!answered) {
    return None(absl::StrCat(program, " --devices has not answered within ",
                             absl::FormatDuration(timeout)));
  }
  absl::StatusOr<GpuInventory> inventory = ParseGpuInventory(output);
  if (inventory.ok()) return *std::move(inventory);
  return None(absl::StrCat(program, " --devices ", reason, ": ",
                           inventory.status().message()));
}

}  // namespace caravan::worker
