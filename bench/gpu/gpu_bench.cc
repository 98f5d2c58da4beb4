// A model on one GPU against the GPU: what part of the read bandwidth do decode
// steps reach, what part of the matrix rate does a prompt.
//   gpu_bench llama-2-70b --quantization q4
// Steps run as in an engine (ModelExecutor, sampling included), without the
// control plane around it. Weights repeat one random piece.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "bench/gpu/busy_meter.h"
#include "bench/gpu/gpu_probe.h"
#include "bench/gpu/repeating_source.h"
#include "bench/gpu/step_maker.h"
#include "coordinator/cluster/plan_proto.h"
#include "partition/model/named_models.h"
#include "partition/plan/kv_cache_dtype.h"
#include "partition/plan/plan.h"
#include "partition/plan/step_cost.h"
#include "worker/backend/cuda/cuda_backend.h"
#include "worker/comm/local/local_world.h"
#include "worker/engine/model_executor.h"

namespace caravan::bench {
namespace {

using worker::ModelExecutor;

struct Settings {
  std::string model;
  std::string hf_overrides;
  std::string quantization = "q4";
  int device = 0;
  int64_t prompt = 2048;
  int64_t depth = 128;  // tokens before those that are measured
  int64_t output = 32;  // tokens that are
  std::vector<int> streams = {1, 16};
  bool enforce_eager = false;
  bool deterministic = false;
  GpuProbeOptions probe;
};

struct GpuSpeed {
  double read_bandwidth = 0;  // bytes per second
  double matrix_rate = 0;     // operations per second
};

absl::StatusOr<WeightFormat> FormatNamed(const std::string& quantization) {
  if (quantization == "none") return WeightFormat::kBFloat16;
  if (quantization == "q8") return WeightFormat::kQ8;
  if (quantization == "q4") return WeightFormat::kQ4;
  return absl::InvalidArgumentError(absl::StrCat(
      "--quantization must be none, q8 or q4, not '", quantization, "'"));
}

int MostStreams(const Settings& settings) {
  return *std::max_element(settings.streams.begin(), settings.streams.end());
}

int64_t MaxPositions(const Settings& settings) {
  return std::max(settings.prompt, settings.depth + settings.output) + 1;
}

absl::StatusOr<v1::EnginePlan> PlanOneGpu(const partition::ModelSpec& spec,
                                          const Settings& settings,
                                          int64_t memory_bytes) {
  const int64_t positions = MaxPositions(settings);
  CARAVAN_ASSIGN_OR_RETURN(
      const partition::Plan plan,
      MakePlan(spec,
               {{.kind = partition::DeviceKind::kGpu,
                 .node = "here",
                 .name = "gpu",
                 .memory_bytes = memory_bytes}},
               {.weight_dtype = spec.dtype,
                .max_model_len = positions,
                .max_sequences = MostStreams(settings),
                .max_rows_per_step =
                    std::max<int64_t>(settings.prompt, MostStreams(settings)),
                .memory_utilization = 1,
                .num_blocks = MostStreams(settings) *
                              CeilDivide(positions, partition::kBlockTokens),
                .enforce_eager = settings.enforce_eager,
                .deterministic = settings.deterministic}));
  v1::EnginePlan proto = coordinator::ToProto(
      plan, {{.device_kind = "cuda", .device_uuid = "this one"}});
  proto.set_step_timeout_ms(60000);
  return proto;
}

// Runs steps and takes their times.
class Bench final {
 public:
  Bench(const Settings& settings, const partition::ModelSpec& spec,
        worker::cuda::DeviceContext& context, ModelExecutor& executor,
        GpuProbe& probe)
      : settings_(settings),
        spec_(spec),
        context_(context),
        executor_(executor),
        probe_(probe),
        steps_(spec.vocab_size, MaxPositions(settings)) {}

  absl::Status Run() {
    CARAVAN_RETURN_IF_ERROR(Probe());
    std::printf("| test | ms per step | tokens/s | against |\n");
    std::printf("|---|---:|---:|---|\n");
    CARAVAN_RETURN_IF_ERROR(Prefill());
    for (const int streams : settings_.streams) {
      CARAVAN_RETURN_IF_ERROR(Decode(streams));
    }
    std::printf(
        "\nThe GPU at its best: reads %.0f GB/s, multiplies %.1f Tflop/s"
        " (cuBLASLt, bfloat16, %d x %d)\n",
        speed_.read_bandwidth * 1e-9, speed_.matrix_rate * 1e-12,
        static_cast<int>(settings_.probe.matrix_size),
        static_cast<int>(settings_.probe.matrix_size));
    return absl::OkStatus();
  }

 private:
  // Before the first test and after each, so that every share is of the best
  // that the GPU has shown until then.
  absl::Status Probe() {
    CARAVAN_ASSIGN_OR_RETURN(const double bandwidth, probe_.ReadBandwidth());
    CARAVAN_ASSIGN_OR_RETURN(const double rate, probe_.MatrixRate());
    speed_.read_bandwidth = std::max(speed_.read_bandwidth, bandwidth);
    speed_.matrix_rate = std::max(speed_.matrix_rate, rate);
    return absl::OkStatus();
  }

  absl::StatusOr<double> Seconds(const v1::Step& step) {
    const auto begin = std::chrono::steady_clock::now();
    CARAVAN_RETURN_IF_ERROR(executor_.Execute(step).status());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                         begin)
        .count();
  }

  struct DecodeTimes {
    std::vector<double> seconds;  // of each step
    double busy = 0;              // the GPU's share of the time
  };
  // From result to result, the next step begun by then, as in an engine whose
  // coordinator works ahead.
  absl::StatusOr<DecodeTimes> RunDecode() {
    CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<BusyMeter> meter,
                             BusyMeter::Create(context_, settings_.output));
    DecodeTimes times;
    int64_t begun = 0;
    auto last = std::chrono::steady_clock::now();
    while (static_cast<int64_t>(times.seconds.size()) < settings_.output) {
      while (begun < settings_.output && executor_.MayBegin()) {
        CARAVAN_RETURN_IF_ERROR(meter->MarkBegin());
        CARAVAN_RETURN_IF_ERROR(executor_.Begin(steps_.Decode()));
        CARAVAN_RETURN_IF_ERROR(meter->MarkEnd());
        ++begun;
      }
      CARAVAN_RETURN_IF_ERROR(executor_.Finish().status());
      const auto now = std::chrono::steady_clock::now();
      times.seconds.push_back(
          std::chrono::duration<double>(now - last).count());
      last = now;
    }
    CARAVAN_ASSIGN_OR_RETURN(times.busy, meter->Share());
    return times;
  }

  absl::Status Prefill() {
    std::vector<double> times;
    for (int i = 0; i < kPrompts; ++i) {
      CARAVAN_ASSIGN_OR_RETURN(const double seconds,
                               Seconds(steps_.Prompt(settings_.prompt)));
      times.push_back(seconds);
      steps_.DropAll();
    }
    CARAVAN_RETURN_IF_ERROR(Probe());
    const double seconds = Median(times);
    const double operations =
        partition::PromptOperations(spec_, settings_.prompt);
    std::printf("| pp%d | %.2f | %.1f | %.3f of matrix rate |\n",
                static_cast<int>(settings_.prompt), seconds * 1e3,
                static_cast<double>(settings_.prompt) / seconds,
                operations / seconds / speed_.matrix_rate);
    return absl::OkStatus();
  }

  absl::Status Decode(int streams) {
    for (int i = 0; i < streams; ++i) {
      CARAVAN_RETURN_IF_ERROR(
          executor_.Execute(steps_.Prompt(settings_.depth)).status());
    }
    CARAVAN_ASSIGN_OR_RETURN(const DecodeTimes times, RunDecode());
    steps_.DropAll();
    CARAVAN_RETURN_IF_ERROR(Probe());
    const double seconds = Median(times.seconds);
    if (streams == 1) one_stream_ = seconds;
    const double share = BytesOfStep(streams) / seconds / speed_.read_bandwidth;
    const std::string against_one =
        one_stream_ > 0 && streams > 1
            ? absl::StrFormat(", %.2f times a step of one",
                              seconds / one_stream_)
            : "";
    std::printf(
        "| tg%d @ d%d x%d | %.3f | %.1f | %.3f of read bandwidth, busy %.3f%s "
        "|\n",
        static_cast<int>(settings_.output), static_cast<int>(settings_.depth),
        streams, seconds * 1e3, streams / seconds, share, times.busy,
        against_one.c_str());
    return absl::OkStatus();
  }

  // What a decode step must read: weights, keys and values.
  double BytesOfStep(int streams) const {
    const double positions = static_cast<double>(settings_.depth) +
                             static_cast<double>(settings_.output) / 2;
    const int64_t cached = ByteSize(partition::KvCacheDType(
        std::nullopt, spec_, partition::DeviceKind::kGpu));
    const double row = 2.0 * static_cast<double>(cached) * spec_.num_layers *
                       spec_.num_kv_heads * static_cast<double>(spec_.head_dim);
    return static_cast<double>(
               partition::BytesPerToken(spec_, {.dtype = spec_.dtype})) +
           streams * positions * row;
  }

  static double Median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  static constexpr int kPrompts = 5;

  const Settings& settings_;
  const partition::ModelSpec& spec_;
  worker::cuda::DeviceContext& context_;
  ModelExecutor& executor_;
  GpuProbe& probe_;
  StepMaker steps_;
  GpuSpeed speed_;
  double one_stream_ = 0;  // seconds of a step
};

absl::Status RunBenchmark(const Settings& settings) {
  CARAVAN_ASSIGN_OR_RETURN(const WeightFormat format,
                           FormatNamed(settings.quantization));
  CARAVAN_ASSIGN_OR_RETURN(
      const partition::ModelSpec shape,
      partition::NamedModelSpec(settings.model, settings.hf_overrides));
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<partition::ModelSource> source,
                           MakeRepeatingSource(shape, format));
  const partition::ModelSpec& spec = source->spec();

  const worker::CudaBackendOptions options = {
      .device = settings.device,
      .use_graphs = !settings.enforce_eager,
      .deterministic = settings.deterministic};
  CARAVAN_ASSIGN_OR_RETURN(
      const std::shared_ptr<worker::cuda::DeviceContext> context,
      worker::OpenCudaDevice(options));
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<GpuProbe> probe,
                           GpuProbe::Create(*context, settings.probe));
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<worker::Backend> backend,
                           worker::CreateCudaBackend(context, options));
  CARAVAN_ASSIGN_OR_RETURN(
      const v1::EnginePlan plan,
      PlanOneGpu(spec, settings, backend->Info().free_bytes.value_or(0)));
  const auto worlds = worker::CreateLocalWorlds(1);
  CARAVAN_ASSIGN_OR_RETURN(const std::unique_ptr<ModelExecutor> executor,
                           ModelExecutor::Create({.plan = &plan,
                                                  .rank = 0,
                                                  .source = source.get(),
                                                  .backend = backend.get(),
                                                  .world = worlds[0].get()}));
  std::printf("%s, %d layers, %s (%.2f GB of weights) on %s\n\n",
              settings.model.c_str(), spec.num_layers,
              std::string(Name(format)).c_str(),
              static_cast<double>(plan.ranks(0).weight_bytes()) * 1e-9,
              context->name().c_str());
  return Bench(settings, spec, *context, *executor, *probe).Run();
}

int Main(int argc, char** argv) {
  Settings settings;
  CLI::App app("Measures a model on one GPU against the GPU's own limits.");
  app.add_option("model", settings.model,
                 "llama-2-7b, llama-2-13b or llama-2-70b")
      ->required();
  app.add_option("--hf-overrides", settings.hf_overrides,
                 "JSON: fields instead of the model's config.json, as "
                 R"('{"num_hidden_layers": 8}')");
  app.add_option("-q,--quantization", settings.quantization,
                 "none (bfloat16), q8 or q4")
      ->capture_default_str();
  app.add_option("--device", settings.device, "The GPU's number")
      ->capture_default_str();
  app.add_option("--input-len", settings.prompt, "Tokens of the prompt")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--depth", settings.depth,
                 "Tokens in the cache before decoding begins")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--output-len", settings.output, "Decode steps to measure")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--streams", settings.streams, "Sequences at once, as 1,16")
      ->delimiter(',')
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_flag("--enforce-eager", settings.enforce_eager,
               "Decode steps operation by operation, not as CUDA graphs");
  app.add_flag("--deterministic", settings.deterministic,
               "The same bits in any batch and chunking");
  app.add_option("--probe-bytes", settings.probe.read_bytes,
                 "What is read to measure the bandwidth")
      ->check(CLI::Range(int64_t{1} << 12, int64_t{1} << 36))
      ->capture_default_str();
  app.add_option("--probe-size", settings.probe.matrix_size,
                 "Of the matrices that are multiplied to measure the rate")
      ->check(CLI::Range(16, 1 << 15))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = RunBenchmark(settings);
  if (status.ok()) return 0;
  std::fprintf(stderr, "gpu_bench: %s\n", status.ToString().c_str());
  return 1;
}

}  // namespace
}  // namespace caravan::bench

int main(int argc, char** argv) { return caravan::bench::Main(argc, argv); }
