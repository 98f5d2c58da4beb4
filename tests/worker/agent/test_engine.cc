// Stands for the engine in the agent's tests: writes a progress page as its
// environment says, prints one line, and stays until it is killed, or ends at
// once with code 7 when the page cannot be written. For --devices it tells of
// two GPUs.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "absl/strings/numbers.h"
#include "base/engine_environment.h"
#include "base/progress_page.h"

namespace {

uint64_t Number(const char* variable) {
  const char* text = std::getenv(variable);
  uint64_t value = 0;
  if (text == nullptr || !absl::SimpleAtoi(text, &value)) std::exit(7);
  return value;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::strcmp(argv[1], "--devices") == 0) {
    const char* broken = std::getenv("TEST_ENGINE_BROKEN_PEER");
    std::printf(
        "{\"driver\": \"13.0\", \"problem\": \"\", \"devices\": ["
        "{\"uuid\": \"GPU-1\", \"name\": \"Test GPU\", \"pci_address\": "
        "\"0000:01:00.0\", \"compute_capability\": \"9.0\", "
        "\"memory_bytes\": 85899345920, \"peers\": [\"GPU-2\"], "
        "\"broken_peers\": []},"
        "{\"uuid\": \"GPU-2\", \"name\": \"Test GPU\", \"pci_address\": "
        "\"0000:02:00.0\", \"compute_capability\": \"9.0\", "
        "\"memory_bytes\": 85899345920, \"peers\": [\"GPU-1\"], "
        "\"broken_peers\": [%s]}]}\n",
        broken == nullptr ? "" : "\"GPU-1\"");
    return 0;
  }
  const char* folder = std::getenv(caravan::kProgressFolderVariable);
  if (folder == nullptr) return 7;
  const auto page = caravan::ProgressWriter::Create(
      folder, Number(caravan::kReplicaVariable),
      Number(caravan::kEpochVariable),
      static_cast<int>(Number(caravan::kRankVariable)));
  if (!page.ok()) return 7;
  (*page)->SetStep(42);
  (*page)->SetPhase(caravan::EnginePhase::kCompute);
  std::fprintf(stderr, "the test engine works\n");
  while (true) pause();
}
