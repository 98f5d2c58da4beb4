// The CPU backend against the machine: what part of the read bandwidth does
// decoding reach, what part of the arithmetic peak does prefill.
//
// Bandwidth and clock of shared machines change within seconds, so each
// repetition is bracketed by probes, and medians of the quotients are reported:
//   of_bandwidth   bytes of weights read per second / read bandwidth
//   of_peak        float32 operations per second / peak
//   against_one    tokens per second of N rows / of one row
//   against_bf16   time with weights in bfloat16, taken right before, / time
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tensor.h"
#include "base/weight_format.h"
#include "worker/backend/backend.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/backend/cpu/machine_probe.h"
#include "worker/backend/cpu/thread_pool.h"
#include "worker/backend/cpu/topology.h"

namespace caravan::bench {
namespace {

using worker::Backend;
using worker::Weight;

// Llama 2 7B.
constexpr int64_t kHidden = 4096;
constexpr int kHeads = 32;
constexpr int64_t kHeadDim = 128;
constexpr int64_t kMlp = 11008;
constexpr int64_t kPositions = 1024;

template <typename T>
T ValueOrDie(absl::StatusOr<T> result) {
  if (!result.ok()) {
    std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
    std::exit(1);
  }
  return *std::move(result);
}

void OkOrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  std::exit(1);
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

std::unique_ptr<Weight> RandomWeight(Backend& backend, int64_t rows,
                                     int64_t cols, WeightFormat format) {
  uint64_t state = static_cast<uint64_t>(rows * 31 + cols);
  return ValueOrDie(backend.LoadWeight(
      {.format = WeightFormat::kFloat32,
       .rows = rows,
       .cols = cols,
       .read_rows =
           [&state](int64_t, int64_t, absl::Span<std::byte> out) {
             float* to = reinterpret_cast<float*>(out.data());
             const size_t count = out.size() / sizeof(float);
             for (size_t i = 0; i < count; ++i) {
               state = state * 6364136223846793005u + 1442695040888963407u;
               to[i] =
                   (static_cast<float>(state >> 40) * 0x1p-23f - 1.0f) * 0.03f;
             }
             return absl::OkStatus();
           }},
      format));
}

// One layer of a 7B model, its cache and room for some rows.
class Layer final {
 public:
  Layer(Backend& backend, WeightFormat format, int64_t num_rows,
        int64_t position)
      : backend_(backend),
        qkv_(RandomWeight(backend, 3 * kHidden, kHidden, format)),
        attention_out_(RandomWeight(backend, kHidden, kHidden, format)),
        gate_up_(RandomWeight(backend, 2 * kMlp, kHidden, format)),
        down_(RandomWeight(backend, kHidden, kMlp, format)),
        shape_{kHeads, kHeads, kHeadDim, std::vector<int>(kHeads)} {
    std::iota(shape_.kv_head_of.begin(), shape_.kv_head_of.end(), 0);
    x_ = Make(num_rows, kHidden, 1.0f);
    queries_ = Make(num_rows, kHidden, 0.0f);
    attended_ = Make(num_rows, kHidden, 0.0f);
    gated_ = Make(num_rows, kMlp, 0.0f);
    norm_ = {Make(1, kHidden, 1.0f), 1e-5f};
    rope_ = {Make(kPositions, kHeadDim / 2, 0.8f),
             Make(kPositions, kHeadDim / 2, 0.6f)};
    // One prompt, or a token each of as many sequences.
    const bool prompt = num_rows > 64;
    const int64_t num_sequences = prompt ? 1 : num_rows;
    const int64_t blocks_each = kPositions / worker::kKvBlockTokens;
    cache_ = ValueOrDie(
        backend.CreateKvCache({.num_layers = 1,
                               .num_blocks = blocks_each * num_sequences,
                               .num_kv_heads = kHeads,
                               .head_dim = kHeadDim}));
    blocks_.resize(blocks_each * num_sequences);
    std::iota(blocks_.begin(), blocks_.end(), 0);
    for (int64_t i = 0; i < num_sequences; ++i) {
      batch_.sequences.push_back(
          {.first_row = i,
           .num_rows = prompt ? num_rows : 1,
           .first_position = prompt ? 0 : position,
           .blocks = absl::MakeConstSpan(blocks_).subspan(i * blocks_each,
                                                          blocks_each)});
    }
    batch_.num_rows = num_rows;
    OkOrDie(backend.Reserve({.max_rows = num_rows,
                             .max_sequences = num_sequences,
                             .max_positions = kPositions,
                             .attention = shape_}));
  }

  void Run() {
    const worker::AttentionLayer layer = {&shape_, &rope_, cache_.get(), 0};
    OkOrDie(backend_.AttentionInput(x_, norm_, *qkv_, layer, batch_, queries_));
    OkOrDie(backend_.Attention(queries_, layer, batch_, attended_));
    OkOrDie(backend_.Linear(attended_, *attention_out_, &x_, x_));
    OkOrDie(backend_.GatedMlp(x_, norm_, *gate_up_, gated_));
    OkOrDie(backend_.Linear(gated_, *down_, &x_, x_));
    OkOrDie(backend_.Synchronize());
  }

  int64_t bytes() const {
    return qkv_->bytes() + attention_out_->bytes() + gate_up_->bytes() +
           down_->bytes();
  }
  // Of products with weights, per row.
  static constexpr double kOperations =
      2.0 * (4 * kHidden * kHidden + 3 * kHidden * kMlp);

 private:
  Tensor Make(int64_t rows, int64_t cols, float value) {
    buffers_.push_back(
        ValueOrDie(backend_.Allocate(rows * cols * sizeof(float))));
    float* data = static_cast<float*>(buffers_.back()->data());
    std::fill(data, data + rows * cols, value);
    return {data, DType::kFloat32, rows, cols};
  }

  Backend& backend_;
  std::unique_ptr<Weight> qkv_;
  std::unique_ptr<Weight> attention_out_;
  std::unique_ptr<Weight> gate_up_;
  std::unique_ptr<Weight> down_;
  worker::AttentionShape shape_;
  std::vector<std::unique_ptr<worker::Buffer>> buffers_;
  Tensor x_;
  Tensor queries_;
  Tensor attended_;
  Tensor gated_;
  worker::Norm norm_;
  worker::RopeTables rope_;
  std::unique_ptr<worker::KvCache> cache_;
  std::vector<int32_t> blocks_;
  worker::Batch batch_;
};

template <typename Work>
double Seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
      .count();
}

// A backend and probes on the same cores.
struct Machine {
  explicit Machine(int num_threads) {
    const std::vector<int> processors =
        ValueOrDie(worker::CoresForThreads(0, num_threads));
    backend = ValueOrDie(worker::CreateCpuBackend(
        {.num_threads = num_threads, .processors = processors}));
    pool = ValueOrDie(worker::ThreadPool::Create(
        {.num_threads = num_threads, .processors = processors}));
    probe = ValueOrDie(worker::MachineProbe::Create(*pool));
  }
  std::unique_ptr<Backend> backend;
  std::unique_ptr<worker::ThreadPool> pool;
  std::unique_ptr<worker::MachineProbe> probe;
};

// Arguments: threads, format.
void DecodeOne(benchmark::State& state) {
  Machine machine(static_cast<int>(state.range(0)));
  Layer layer(*machine.backend, static_cast<WeightFormat>(state.range(1)),
              /*num_rows=*/1, /*position=*/100);
  std::vector<double> quotients;
  std::vector<double> bandwidths;
  layer.Run();
  double before = machine.probe->ReadBandwidth();
  for (auto _ : state) {
    const double seconds = Seconds([&] { layer.Run(); });
    const double after = machine.probe->ReadBandwidth();
    quotients.push_back(static_cast<double>(layer.bytes()) / seconds /
                        std::max(before, after));
    bandwidths.push_back(std::max(before, after));
    before = after;
    state.SetIterationTime(seconds);
  }
  state.counters["of_bandwidth"] = Median(quotients);
  state.counters["GB/s_of_machine"] = Median(bandwidths) * 1e-9;
}

// Arguments: threads, format, rows.
void DecodeMany(benchmark::State& state) {
  Machine machine(static_cast<int>(state.range(0)));
  const auto format = static_cast<WeightFormat>(state.range(1));
  const int64_t num_rows = state.range(2);
  Layer one(*machine.backend, format, 1, 100);
  Layer many(*machine.backend, format, num_rows, 100);
  std::vector<double> quotients;
  std::vector<double> of_peak;
  one.Run();
  many.Run();
  for (auto _ : state) {
    const double alone = Seconds([&] { one.Run(); });
    const double peak = machine.probe->FmaPeak();
    const double together = Seconds([&] { many.Run(); });
    quotients.push_back(static_cast<double>(num_rows) * alone / together);
    of_peak.push_back(Layer::kOperations * static_cast<double>(num_rows) /
                      together / peak);
    state.SetIterationTime(together);
  }
  state.counters["against_one"] = Median(quotients);
  state.counters["of_peak"] = Median(of_peak);
}

// Arguments: threads, format, rows.
void Prefill(benchmark::State& state) {
  Machine machine(static_cast<int>(state.range(0)));
  const int64_t num_rows = state.range(2);
  Layer layer(*machine.backend, static_cast<WeightFormat>(state.range(1)),
              num_rows, 0);
  std::vector<double> of_peak;
  std::vector<double> peaks;
  layer.Run();
  double before = machine.probe->FmaPeak();
  for (auto _ : state) {
    const double seconds = Seconds([&] { layer.Run(); });
    const double after = machine.probe->FmaPeak();
    peaks.push_back(std::max(before, after));
    of_peak.push_back(Layer::kOperations * static_cast<double>(num_rows) /
                      seconds / peaks.back());
    before = after;
    state.SetIterationTime(seconds);
  }
  state.counters["of_peak"] = Median(of_peak);
  state.counters["Gflop/s_of_machine"] = Median(peaks) * 1e-9;
}

// Arguments: threads, format, rows: 1 or a few sequences, or one prompt.
void Quantized(benchmark::State& state) {
  Machine machine(static_cast<int>(state.range(0)));
  const int64_t num_rows = state.range(2);
  const int64_t position = num_rows > 64 ? 0 : 100;
  Layer bfloat16(*machine.backend, WeightFormat::kBFloat16, num_rows, position);
  Layer quantized(*machine.backend, static_cast<WeightFormat>(state.range(1)),
                  num_rows, position);
  std::vector<double> quotients;
  bfloat16.Run();
  quantized.Run();
  for (auto _ : state) {
    const double plain = Seconds([&] { bfloat16.Run(); });
    const double seconds = Seconds([&] { quantized.Run(); });
    quotients.push_back(plain / seconds);
    state.SetIterationTime(seconds);
  }
  state.counters["against_bf16"] = Median(quotients);
}

constexpr int64_t kBf16 = static_cast<int64_t>(WeightFormat::kBFloat16);
constexpr int64_t kF16 = static_cast<int64_t>(WeightFormat::kFloat16);
constexpr int64_t kF32 = static_cast<int64_t>(WeightFormat::kFloat32);

constexpr int64_t kQ8 = static_cast<int64_t>(WeightFormat::kQ8);
constexpr int64_t kQ4 = static_cast<int64_t>(WeightFormat::kQ4);
constexpr int64_t kQ4Minimum = static_cast<int64_t>(WeightFormat::kQ4Minimum);

BENCHMARK(DecodeOne)
    ->ArgNames({"threads", "format"})
    ->ArgsProduct({{1, 2}, {kBf16, kF16, kF32, kQ8, kQ4, kQ4Minimum}})
    ->UseManualTime()
    ->Iterations(15)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(DecodeMany)
    ->ArgNames({"threads", "format", "rows"})
    ->ArgsProduct({{1, 2}, {kBf16}, {4, 16}})
    ->UseManualTime()
    ->Iterations(9)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(Quantized)
    ->ArgNames({"threads", "format", "rows"})
    ->ArgsProduct({{1, 2}, {kQ8, kQ4, kQ4Minimum}, {1, 16, 512}})
    ->UseManualTime()
    ->Iterations(9)
    ->Unit(benchmark::kMillisecond);
BENCHMARK(Prefill)
    ->ArgNames({"threads", "format", "rows"})
    ->ArgsProduct({{1, 2}, {kBf16}, {512}})
    ->UseManualTime()
    ->Iterations(3)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace caravan::bench

BENCHMARK_MAIN();
