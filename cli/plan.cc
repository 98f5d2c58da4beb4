#include "cli/plan.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "cli/byte_size.h"
#include "coordinator/cluster/placement.h"
#include "partition/model/model_source.h"
#include "partition/model/named_models.h"
#include "partition/plan/kv_cache_dtype.h"
#include "partition/plan/plan.h"

namespace caravan::cli {
namespace {

constexpr char kExamples[] =
    R"(MODEL is a Hugging Face folder, a GGUF file, or one of the names
llama-2-7b, llama-2-13b, llama-2-70b, for which nothing need be there.
Only headers are read.

Examples:
  caravan plan llama-2-70b -tp 4 -pp 2 --device-memory 24GiB
      Eight devices of 24 GiB: two stages of four ranks.
  caravan plan ./my-model -pp 3 --max-model-len 2048 --device-memory 8GB
      Three machines, one stage each, and a shorter context.
  caravan plan llama-2-13b --device-memory 16GiB
      Says by how much it does not fit and what would.
  caravan plan llama-2-70b -tp 2 --device cuda --device-memory 24GiB -q q4
      Two GPUs, with weights of 4 bits; also what CUDA and NCCL take.
  caravan plan llama-2-13b -pp 2 --device cuda --device-memory 24GiB,16GiB
      Unequal ones: the smaller takes fewer layers if it must.
  caravan plan llama-2-13b -tp 2 --device cuda \
      --device-memory 24GiB,12GiB --max-model-len 2048
      In one stage: it takes fewer heads and columns of each layer.
  caravan plan llama-2-70b -pp 2 -q q4 --device cuda,cpu \
      --device-memory 24GiB,64GiB
      A stage on a GPU and one on a machine without.

-tp splits every layer by heads and columns: devices talk twice per layer, so
keep it within a machine or a fast network. -pp splits the model by layers:
devices talk once per step.)";

absl::StatusOr<partition::ModelSpec> FindSpec(
    const PlanCommandOptions& options) {
  std::error_code error;
  if (!std::filesystem::exists(options.model, error)) {
    absl::StatusOr<partition::ModelSpec> spec =
        partition::NamedModelSpec(options.model, options.hf_overrides);
    if (!absl::IsNotFound(spec.status())) return spec;
    return absl::NotFoundError(
        absl::StrCat("no such file or folder: ", options.model, "; ",
                     spec.status().message()));
  }
  CARAVAN_ASSIGN_OR_RETURN(
      const std::unique_ptr<partition::ModelSource> source,
      partition::OpenModel({.path = options.model,
                            .load_format = options.load_format == "dummy"
                                               ? partition::LoadFormat::kDummy
                                               : partition::LoadFormat::kAuto,
                            .hf_overrides = options.hf_overrides}));
  return source->spec();
}

absl::StatusOr<DType> FindDType(const PlanCommandOptions& options,
                                const partition::ModelSpec& spec) {
  if (options.dtype == "auto") return spec.dtype;
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    if (options.dtype == std::string(Name(dtype))) return dtype;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--dtype must be auto, float32, float16 or bfloat16, is ",
                   options.dtype));
}

int64_t MachineMemory() {
  return int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
}

// Of each rank's device.
absl::StatusOr<std::vector<int64_t>> DeviceMemory(
    const PlanCommandOptions& options, int64_t num_ranks) {
  if (options.device_memory.empty()) {
    if (absl::StrContains(options.device, "cuda")) {
      return absl::InvalidArgumentError(
          "--device cuda needs --device-memory, that of each GPU, such as "
          "24GiB: `caravan status` shows what a cluster's GPUs have");
    }
    return std::vector<int64_t>(num_ranks, MachineMemory() / num_ranks);
  }
  std::vector<int64_t> memory;
  for (const absl::string_view text :
       absl::StrSplit(options.device_memory, ',')) {
    absl::StatusOr<int64_t> bytes = ParseByteSize(text);
    if (!bytes.ok()) return Annotate(bytes.status(), "--device-memory");
    memory.push_back(*bytes);
  }
  if (memory.size() == 1) memory.resize(num_ranks, memory[0]);
  if (static_cast<int64_t>(memory.size()) != num_ranks) {
    return absl::InvalidArgumentError(
        absl::StrCat("--device-memory has ", memory.size(), " sizes for ",
                     num_ranks, " ranks: one for all, or one for each"));
  }
  return memory;
}

// Of each stage.
absl::StatusOr<std::vector<partition::DeviceKind>> FindKinds(
    const PlanCommandOptions& options) {
  const absl::StatusOr<std::vector<std::string>> names =
      coordinator::StageDevices(options.device, options.pp);
  if (!names.ok()) return Annotate(names.status(), "--device");
  std::vector<partition::DeviceKind> kinds;
  for (const std::string& name : *names) {
    if (name == "simulated") {
      return absl::InvalidArgumentError(
          "--device simulated computes nothing: there is no plan for it");
    }
    kinds.push_back(name == "cuda" ? partition::DeviceKind::kGpu
                                   : partition::DeviceKind::kCpu);
  }
  return kinds;
}

void AddLayoutOptions(CLI::App& command, PlanCommandOptions& options) {
  command.add_option("model", options.model, "Folder, file or name")
      ->required()
      ->type_name("MODEL");
  command
      .add_option("--tensor-parallel-size,--tp", options.tp,
                  "Ranks that share each layer; also -tp")
      ->capture_default_str();
  command
      .add_option("--pipeline-parallel-size,--pp", options.pp,
                  "Stages that the layers are divided among; also -pp")
      ->capture_default_str();
  command
      .add_option("--device", options.device,
                  "What ranks compute on: cpu, or cuda (a GPU each); or one of "
                  "these for each stage, as cuda,cpu")
      ->type_name("KIND[,KIND...]")
      ->check([](const std::string& text) {
        // Whether it fits the stages is seen when all options are known.
        const auto stages = std::count(text.begin(), text.end(), ',') + 1;
        return std::string(
            FindKinds({.pp = static_cast<int>(stages), .device = text})
                .status()
                .message());
      })
      ->capture_default_str();
  command
      .add_option("--device-memory", options.device_memory,
                  "Memory of each device, as 24GiB or 24GB, or of one after "
                  "the other, as 24GiB,16GiB (default: this machine's, shared "
                  "by all ranks; needed with --device cuda)")
      ->type_name("SIZE[,SIZE...]");
  command
      .add_option("--activation-dtype", options.activation_dtype,
                  "In what activations travel between ranks: float32, or "
                  "bfloat16, which halves messages and their buffers")
      ->check(CLI::IsMember({"float32", "bfloat16"}))
      ->capture_default_str();
  command
      .add_option("--kv-cache-dtype", options.kv_cache_dtype,
                  "In what keys and values are held: float32, or float16 or "
                  "bfloat16, which take half the memory; auto: float32 on "
                  "CPUs, on GPUs bfloat16 if the checkpoint is, else float16")
      ->check(CLI::IsMember({"auto", "float32", "float16", "bfloat16"}))
      ->capture_default_str();
}

void AddModelOptions(CLI::App& command, PlanCommandOptions& options) {
  command.add_option("--max-model-len", options.max_model_len,
                     "Longest sequence in tokens (default: the model's)");
  command
      .add_option("--max-num-seqs", options.max_sequences,
                  "Sequences that run at once")
      ->capture_default_str();
  command
      .add_option("--max-num-batched-tokens", options.max_rows_per_step,
                  "Tokens of one step")
      ->capture_default_str();
  command
      .add_option("--gpu-memory-utilization,--memory-utilization",
                  options.memory_utilization,
                  "Share of the memory that may be filled")
      ->capture_default_str();
  command.add_flag("--enforce-eager", options.enforce_eager,
                   "Without memory for CUDA graphs");
  command.add_flag("--deterministic", options.deterministic,
                   "GPUs that keep every bit, without memory for faster ways");
  command
      .add_option("--dtype", options.dtype,
                  "How weights that are not quantized are held: auto (as in "
                  "the checkpoint), float32, bfloat16, float16")
      ->capture_default_str();
  command
      .add_option("-q,--quantization", options.quantization,
                  "auto: quantized weights as they are stored; none: decoded "
                  "to --dtype; q8, q4: all weights quantized")
      ->capture_default_str();
  command
      .add_option("--load-format", options.load_format,
                  "auto, or dummy: config.json alone is enough")
      ->check(CLI::IsMember({"auto", "dummy"}))
      ->capture_default_str();
  command
      .add_option("--hf-overrides", options.hf_overrides,
                  "Fields instead of config.json's, as "
                  "'{\"num_hidden_layers\": 2}'")
      ->type_name("JSON");
}

}  // namespace

absl::StatusOr<std::string> PlanReport(const PlanCommandOptions& options) {
  CARAVAN_ASSIGN_OR_RETURN(const partition::ModelSpec spec, FindSpec(options));
  if (options.tp < 1 || options.tp > spec.num_heads) {
    return absl::InvalidArgumentError(
        absl::StrCat("--tensor-parallel-size must be 1 to ", spec.num_heads,
                     " (the model's query heads), is ", options.tp));
  }
  if (options.pp < 1 || options.pp > spec.num_layers) {
    return absl::InvalidArgumentError(
        absl::StrCat("--pipeline-parallel-size must be 1 to ", spec.num_layers,
                     " (the model's layers), is ", options.pp));
  }
  partition::PlanOptions plan_options{
      .tp = options.tp,
      .pp = options.pp,
      .max_model_len = options.max_model_len,
      .max_sequences = options.max_sequences,
      .max_rows_per_step = options.max_rows_per_step,
      .memory_utilization = options.memory_utilization,
      .enforce_eager = options.enforce_eager,
      .deterministic = options.deterministic};
  CARAVAN_ASSIGN_OR_RETURN(plan_options.weight_dtype, FindDType(options, spec));
  CARAVAN_ASSIGN_OR_RETURN(plan_options.quantization,
                           partition::ParseQuantization(options.quantization));
  CARAVAN_ASSIGN_OR_RETURN(plan_options.activation_dtype,
                           ParseDType(options.activation_dtype));
  CARAVAN_ASSIGN_OR_RETURN(
      plan_options.kv_cache_dtype,
      partition::ParseKvCacheDType(options.kv_cache_dtype));
  const int64_t num_ranks = int64_t{options.tp} * options.pp;
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<partition::DeviceKind> kinds,
                           FindKinds(options));
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<int64_t> memory,
                           DeviceMemory(options, num_ranks));
  std::vector<partition::DeviceSpec> devices(num_ranks);
  for (int64_t i = 0; i < num_ranks; ++i) {
    const partition::DeviceKind kind = kinds[i / options.tp];
    const bool is_gpu = kind == partition::DeviceKind::kGpu;
    devices[i] = {.kind = kind,
                  .name = absl::StrCat(is_gpu ? "gpu-" : "cpu-", i),
                  .memory_bytes = memory[i]};
  }
  CARAVAN_ASSIGN_OR_RETURN(const partition::Plan plan,
                           partition::MakePlan(spec, devices, plan_options));
  return partition::FormatPlan(plan);
}

void AddPlanCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand(
      "plan", "Show how a model would be laid over devices, and if it fits");
  command->footer(kExamples);
  auto options = std::make_shared<PlanCommandOptions>();
  AddLayoutOptions(*command, *options);
  AddModelOptions(*command, *options);
  command->callback([options, &exit_code] {
    const absl::StatusOr<std::string> report = PlanReport(*options);
    if (report.ok()) {
      std::fputs(report->c_str(), stdout);
      return;
    }
    std::fprintf(stderr, "caravan plan: %s\n",
                 std::string(report.status().message()).c_str());
    exit_code = 1;
  });
}

}  // namespace caravan::cli
