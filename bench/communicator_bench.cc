// Latency of all-reduce over MPI, by message size:
//   mpirun -n 4 --bind-to none --oversubscribe communicator_bench --tp 2
// Every group of `tp` neighbouring ranks reduces at the same time. Rank 0
// prints, for each size, the median and the 90th and 99th percentile of its
// rounds' times.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/comm/mpi/mpi_world.h"

namespace caravan::worker {
namespace {

using SteadyClock = std::chrono::steady_clock;

struct Settings {
  int tp = 2;
  int rounds = 2000;
  int work_us = 0;  // of computing before each round
  std::string activation_dtype = "float32";
  std::vector<int64_t> sizes = {1 << 10,   16 << 10, 64 << 10, 128 << 10,
                                256 << 10, 1 << 20,  8 << 20};
};

void Compute(std::chrono::microseconds time) {
  const SteadyClock::time_point end = SteadyClock::now() + time;
  while (SteadyClock::now() < end) {
  }
}

double Quantile(const std::vector<double>& sorted, double q) {
  return sorted[static_cast<size_t>(q * (sorted.size() - 1))];
}

absl::Status Measure(Communicator& group, int64_t bytes, int rounds,
                     const Settings& settings, std::vector<double>& times) {
  std::vector<float> values(bytes / sizeof(float), 0.0f);
  for (int round = -rounds / 10; round < rounds; ++round) {
    Compute(std::chrono::microseconds(settings.work_us));
    const SteadyClock::time_point begin = SteadyClock::now();
    CARAVAN_RETURN_IF_ERROR(
        group.AllReduceSum({values.data(), DType::kFloat32, 1,
                            static_cast<int64_t>(values.size())}));
    const std::chrono::duration<double, std::micro> took =
        SteadyClock::now() - begin;
    if (round >= 0) times.push_back(took.count());
  }
  std::sort(times.begin(), times.end());
  return absl::OkStatus();
}

absl::Status RunBenchmark(const Settings& settings) {
  CARAVAN_ASSIGN_OR_RETURN(auto world, CreateMpiWorld({}));
  if (settings.tp < 1 || world->size() % settings.tp != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("tp must divide the ranks: tp=", settings.tp,
                     " ranks=", world->size()));
  }
  const int first = world->rank() / settings.tp * settings.tp;
  GroupOptions options{.name = absl::StrCat("tp", first / settings.tp)};
  CARAVAN_ASSIGN_OR_RETURN(options.wire_dtype,
                           ParseDType(settings.activation_dtype));
  for (int i = 0; i < settings.tp; ++i)
    options.world_ranks.push_back(first + i);
  CARAVAN_ASSIGN_OR_RETURN(auto group, world->CreateGroup(options));
  for (const int64_t bytes : settings.sizes) {
    // Large messages take long enough to need fewer rounds.
    const int rounds = static_cast<int>(
        std::clamp<int64_t>((int64_t{256} << 20) / bytes,
                            std::min(settings.rounds, 20), settings.rounds));
    std::vector<double> times;
    CARAVAN_RETURN_IF_ERROR(Measure(*group, bytes, rounds, settings, times));
    if (world->rank() != 0) continue;
    std::printf(
        "%9lld bytes  ranks %d of %d  median %8.1f us  p90 %8.1f us"
        "  p99 %8.1f us\n",
        static_cast<long long>(bytes), settings.tp, world->size(),
        Quantile(times, 0.5), Quantile(times, 0.9), Quantile(times, 0.99));
    std::fflush(stdout);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace caravan::worker

int main(int argc, char** argv) {
  caravan::worker::Settings settings;
  CLI::App app("Latency of all-reduce over MPI");
  app.add_option("--tp", settings.tp, "Ranks of a group");
  app.add_option("--rounds", settings.rounds, "Rounds of small messages");
  app.add_option("--work-us", settings.work_us,
                 "Microseconds of computing before each round");
  app.add_option("--bytes", settings.sizes,
                 "Message sizes, in float32: half of them travel in bfloat16");
  app.add_option("--activation-dtype", settings.activation_dtype,
                 "float32 or bfloat16: in what values travel");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = caravan::worker::RunBenchmark(settings);
  if (status.ok()) return 0;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}
