#include "cli/serve_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"
#include "cli/byte_size.h"
#include "coordinator/cluster/placement.h"

namespace caravan::cli {
namespace {

void AddLayoutOptions(CLI::App& app, ServeOptions& options) {
  app.add_option("--tensor-parallel-size,--tp", options.tp,
                 "Engines that share each layer; also -tp")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--pipeline-parallel-size,--pp", options.pp,
                 "Stages that the layers are divided among; also -pp")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option(
         "--device", options.device,
         "What engines compute on: cpu, cuda (a GPU each), or simulated "
         "(they compute nothing, for tests); or one of cpu and cuda for each "
         "pipeline stage, as cuda,cpu")
      ->type_name("KIND[,KIND...]")
      ->check([](const std::string& text) {
        // Whether it fits the stages is seen when all options are known.
        const auto stages = std::count(text.begin(), text.end(), ',') + 1;
        return std::string(
            coordinator::StageDevices(text, static_cast<int>(stages))
                .status()
                .message());
      })
      ->capture_default_str();
  app.add_option("--activation-dtype", options.activation_dtype,
                 "In what activations travel between engines: float32, or "
                 "bfloat16, which halves what the network carries and rounds "
                 "it (sums stay float32); for networks that bound the speed")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--kv-cache-dtype", options.kv_cache_dtype,
                 "In what keys and values are held: float32, or float16 or "
                 "bfloat16, which take half the memory; auto: float32 on "
                 "CPUs, on GPUs bfloat16 if the checkpoint is, else float16")
      ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16"}))
      ->capture_default_str();
  app.add_option("--cpu-threads", options.cpu_threads,
                 "Threads of each engine (default: its share of the cores)")
      ->check(CLI::Range(0, 1024));
  app.add_option("--max-model-len", options.max_model_len,
                 "Longest sequence in tokens (default: the model's)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option("--max-num-seqs", options.max_sequences,
                 "Sequences that run at once")
      ->check(CLI::Range(int64_t{1}, int64_t{65536}))
      ->capture_default_str();
  app.add_option("--max-num-batched-tokens", options.max_batched_tokens,
                 "Tokens of one step")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  app.add_option("--kv-cache-memory", options.kv_cache_memory,
                 "Memory of each node for keys and values, as 4GiB")
      ->type_name("SIZE")
      ->capture_default_str();
  app.add_option(
         "--gpu-memory-utilization,--memory-utilization",
         options.memory_utilization,
         "Share of a node's memory, or of each GPU's, that may be filled")
      ->capture_default_str();
  app.add_flag("--enforce-eager", options.enforce_eager,
               "GPUs run steps operation by operation, not as CUDA graphs: "
               "slower, with a little more memory for keys and values");
  app.add_flag("--deterministic", options.deterministic,
               "On GPUs too the same bits for a request whatever runs beside "
               "it and however its prompt and the layers are divided (CPUs "
               "always keep them); without it GPUs may trade that for speed");
  app.add_option("--simulated-step-us", options.simulated_step_us,
                 "Microseconds of a simulated step")
      ->group("");
  app.add_option("--simulated-row-us", options.simulated_row_us,
                 "And of each of its rows")
      ->group("");
}

}  // namespace

void AddModelOptions(CLI::App& app, ServeOptions& options) {
  app.add_option("model", options.model,
                 "Hugging Face folder or GGUF file, the same on every node")
      ->required()
      ->type_name("MODEL");
  app.add_option("--load-format", options.load_format,
                 "auto, or dummy: random weights in the shape of MODEL's "
                 "config.json, or of llama-2-7b, -13b, -70b")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str();
  app.add_option("--dtype", options.dtype,
                 "How weights that are not quantized are held: auto (as in the "
                 "checkpoint), float32, bfloat16, float16")
      ->check(CLI::IsMember({"auto", "float32", "bfloat16", "float16"}))
      ->capture_default_str();
  app.add_option("-q,--quantization", options.quantization,
                 "auto: compute with quantized weights as they are stored; "
                 "none: decode them to --dtype; q8, q4: quantize all weights")
      ->check(CLI::IsMember({"auto", "none", "q8", "q4"}))
      ->capture_default_str();
  app.add_option("--hf-overrides", options.hf_overrides,
                 "Fields instead of config.json's, as "
                 "'{\"num_hidden_layers\": 2}'")
      ->type_name("JSON");
  app.add_option("--seed", options.seed, "Of dummy weights")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--chat-template", options.chat_template,
                 "llama-2, llama-3, chatml, alpaca or vicuna (default: the "
                 "checkpoint's own)")
      ->type_name("NAME");
  app.add_flag("--skip-tokenizer-init", options.skip_tokenizer_init,
               "Serve token ids only");
  AddLayoutOptions(app, options);
}

bool IsLoopback(absl::string_view address) {
  const size_t colon = address.rfind(':');
  absl::string_view host = address;
  if (absl::StartsWith(address, "[")) {
    host = address.substr(1, address.find(']') - 1);
  } else if (colon != absl::string_view::npos && address.find(':') == colon) {
    host = address.substr(0, colon);
  }
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

absl::Status Validate(const ServeOptions& options) {
  if (options.port < 0 || options.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--port must be 0 to 65535, is ", options.port));
  }
  // Written so that NaN is refused too.
  if (!(options.memory_utilization > 0 && options.memory_utilization <= 1)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--memory-utilization must be above 0 and at most 1, is ",
                     options.memory_utilization));
  }
  if (!(options.stall_timeout_seconds >= 1 &&
        options.stall_timeout_seconds <= 3600)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--stall-timeout must be 1 to 3600 seconds, is ",
                     options.stall_timeout_seconds));
  }
  if (!(options.shutdown_timeout_seconds >= 0 &&
        options.shutdown_timeout_seconds <= 3600)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shutdown-timeout must be 0 to 3600 seconds, is ",
                     options.shutdown_timeout_seconds));
  }
  const absl::Status devices =
      coordinator::StageDevices(options.device, options.pp).status();
  if (!devices.ok()) return Annotate(devices, "--device");
  const absl::StatusOr<int64_t> memory = ParseByteSize(options.kv_cache_memory);
  if (!memory.ok()) return Annotate(memory.status(), "--kv-cache-memory");
  if (options.nodes == 0) {
    if (!options.listen.empty() || !options.token_file.empty()) {
      return absl::InvalidArgumentError(
          "--listen and --token-file are for agents on other machines: say "
          "how many with --nodes N");
    }
    return absl::OkStatus();
  }
  if (options.listen.empty()) {
    return absl::InvalidArgumentError(
        "--nodes needs --listen ADDRESS:PORT, where the agents find the "
        "coordinator");
  }
  int port = 0;
  const size_t colon = options.listen.rfind(':');
  if (colon == std::string::npos ||
      !absl::SimpleAtoi(options.listen.substr(colon + 1), &port) || port < 0 ||
      port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("--listen must be ADDRESS:PORT, is ", options.listen));
  }
  if (!IsLoopback(options.listen) && !options.insecure) {
    return absl::FailedPreconditionError(absl::StrCat(
        "--listen ", options.listen,
        " is reachable from other machines, in clear text: add --insecure if "
        "the network is yours alone"));
  }
  return absl::OkStatus();
}

}  // namespace caravan::cli
