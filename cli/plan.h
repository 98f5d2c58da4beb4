// `caravan plan`: how a model would be laid over devices, and whether it fits.
#ifndef CARAVAN_CLI_PLAN_H_
#define CARAVAN_CLI_PLAN_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

struct PlanCommandOptions {
  std::string model;  // a folder, a file, or a name such as "llama-2-70b"
  int tp = 1;
  int pp = 1;
  std::string device = "cpu";  // or "cuda"; or one for each stage: "cuda,cpu"
  // Of all devices alike, or of each, as "24GiB,16GiB"; empty: this machine's,
  // shared by the ranks.
  std::string device_memory;
  std::string activation_dtype = "float32";  // between ranks; or "bfloat16"
  std::string kv_cache_dtype = "auto";
  int64_t max_model_len = 0;  // 0: the model's
  int64_t max_sequences = 256;
  int64_t max_rows_per_step = 512;
  double memory_utilization = 0.9;
  bool enforce_eager = false;
  bool deterministic = false;
  std::string dtype = "auto";
  std::string quantization = "auto";
  std::string load_format = "auto";
  std::string hf_overrides;  // JSON, instead of fields of config.json
};

// The table, or why there is none.
absl::StatusOr<std::string> PlanReport(const PlanCommandOptions& options);

// Adds the subcommand to `app`; `exit_code` must outlive it.
void AddPlanCommand(CLI::App& app, int& exit_code);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_PLAN_H_
