// What a server is told on the command line.
#ifndef CARAVAN_CLI_SERVE_OPTIONS_H_
#define CARAVAN_CLI_SERVE_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace CLI {
class App;
}  // namespace CLI

namespace caravan::cli {

struct ServeOptions {
  // The model.
  std::string model;  // a folder, a file, or with `dummy` a name
  std::string load_format = "auto";
  std::string dtype = "auto";
  std::string quantization = "auto";
  uint64_t seed = 0;         // of dummy weights
  std::string hf_overrides;  // JSON, instead of fields of config.json
  std::vector<std::string> served_model_names;
  std::string chat_template;  // empty: the checkpoint's own
  bool skip_tokenizer_init = false;

  // How it is laid out.
  int tp = 1;
  int pp = 1;
  std::string device = "cpu";
  std::string activation_dtype = "float32";  // between ranks; or "bfloat16"
  std::string kv_cache_dtype = "auto";
  int cpu_threads = 0;        // of each engine; 0: its share of the cores
  int64_t max_model_len = 0;  // 0: the model's
  int64_t max_sequences = 256;
  int64_t max_batched_tokens = 512;
  std::string kv_cache_memory = "2GiB";  // on each node
  double memory_utilization = 0.9;
  bool enforce_eager = false;  // no CUDA graphs
  bool deterministic = false;  // GPUs keep the numerics contract to the bit

  // HTTP.
  std::string host = "127.0.0.1";
  int port = 8000;  // 0: any free one
  std::vector<std::string> api_keys;
  bool insecure = false;

  // Nodes. Without any, this machine runs all engines.
  int nodes = 0;
  std::string listen;      // ADDRESS:PORT for their agents
  std::string token_file;  // empty: a new token

  // Of simulated engines.
  int64_t simulated_step_us = 2000;
  int64_t simulated_row_us = 10;

  double shutdown_timeout_seconds = 1;
  double stall_timeout_seconds = 3;
  bool verbose = false;  // show all that this machine's agent and engines log
  // Not on the command line.
  std::string caravan_program;  // runs `agent`; empty: this executable
  bool quiet = false;           // agents and engines write to a file
};

// Adds the flags that say which model runs and how it is laid out, among them
// MODEL itself. `options` outlives `app`.
void AddModelOptions(CLI::App& app, ServeOptions& options);

// kInvalidArgument and kFailedPrecondition: what does not go together, by flag.
absl::Status Validate(const ServeOptions& options);

// Whether "HOST:PORT" or a host can be reached from this machine only.
bool IsLoopback(absl::string_view address);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_SERVE_OPTIONS_H_
