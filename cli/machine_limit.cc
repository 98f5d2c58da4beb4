#include "cli/machine_limit.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "partition/plan/step_cost.h"
#include "worker/backend/cpu/machine_probe.h"
#include "worker/backend/cpu/thread_pool.h"
#include "worker/backend/cpu/topology.h"

namespace caravan::cli {
namespace {

// Other processes can only slow the machine down: its best reading is closest
// to what it can do.
constexpr int kReadings = 5;

absl::StatusOr<double> Probe(bool reads, int num_threads) {
  CARAVAN_ASSIGN_OR_RETURN(std::vector<int> processors,
                           worker::CoresForThreads(0, num_threads));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<worker::ThreadPool> pool,
      worker::ThreadPool::Create(
          {.num_threads = num_threads, .processors = std::move(processors)}));
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<worker::MachineProbe> probe,
                           worker::MachineProbe::Create(*pool));
  double best = 0;
  for (int i = 0; i < kReadings; ++i) {
    best = std::max(best, reads ? probe->ReadBandwidth() : probe->FmaPeak());
  }
  return best;
}

}  // namespace

MachineLimit::MachineLimit(const partition::ModelSpec& spec,
                           const partition::HoldOptions& hold, int num_threads)
    : spec_(spec), hold_(hold), num_threads_(num_threads) {}

double MachineLimit::CostOf(const SpeedTest& test) const {
  if (test.kind == SpeedTest::Kind::kDecode) {
    return static_cast<double>(partition::BytesPerToken(spec_, hold_));
  }
  return partition::PromptOperations(spec_, test.num_tokens) /
         static_cast<double>(test.num_tokens);
}

absl::StatusOr<double> MachineLimit::TokensPerSecond(
    const SpeedTest& test) const {
  if (test.num_streams > 1) return 0.0;
  const bool reads = test.kind == SpeedTest::Kind::kDecode;
  absl::StatusOr<double> speed = absl::InternalError("not measured");
  // A pool binds its caller to a processor, and what the caller starts later.
  std::thread([&] { speed = Probe(reads, num_threads_); }).join();
  if (!speed.ok()) return Annotate(speed.status(), "measuring the machine");
  return *speed / CostOf(test);
}

}  // namespace caravan::cli
