#include "partition/plan/plan_advice.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "partition/plan/kv_cache_dtype.h"
#include "partition/plan/layout.h"

namespace caravan::partition {
namespace {

// Larger degrees are not tried: nobody's first idea is a thousand machines.
constexpr int kMostRanks = 256;
// A context shorter than this is no help.
constexpr int64_t kLeastModelLen = 128;

class Adviser {
 public:
  Adviser(const ModelSpec& spec, const std::vector<DeviceSpec>& devices)
      : spec_(spec),
        devices_(devices),
        smallest_(
            *std::min_element(devices.begin(), devices.end(),
                              [](const DeviceSpec& a, const DeviceSpec& b) {
                                return a.memory_bytes < b.memory_bytes;
                              })) {}

  bool Fits(const PlanOptions& options) const {
    const int64_t num_ranks = int64_t{options.tp} * options.pp;
    if (num_ranks > kMostRanks) return false;
    std::vector<DeviceSpec> devices = devices_;
    if (static_cast<int64_t>(devices.size()) < num_ranks) {
      devices.resize(num_ranks, smallest_);
    }
    const auto ranks = LayOutRanks(spec_, devices, options);
    if (!ranks.ok()) return false;
    return std::all_of(ranks->begin(), ranks->end(), [&](const RankPlan& rank) {
      return BlocksThatFit(spec_, rank, options) >= LeastBlocks(options);
    });
  }

  // The smallest larger degree that fits; 0: none.
  int LargerDegree(PlanOptions options, int PlanOptions::* degree,
                   int most) const {
    while (++(options.*degree) <= most) {
      if (Fits(options)) return options.*degree;
    }
    return 0;
  }

  // The longest context that fits, in steps of kLeastModelLen; 0: none.
  int64_t ShorterModelLen(PlanOptions options) const {
    int64_t fits = 0;
    int64_t fits_not = options.max_model_len / kLeastModelLen + 1;
    while (fits + 1 < fits_not) {
      const int64_t middle = fits + (fits_not - fits) / 2;
      options.max_model_len = middle * kLeastModelLen;
      (Fits(options) ? fits : fits_not) = middle;
    }
    return fits * kLeastModelLen;
  }

 private:
  const ModelSpec& spec_;
  const std::vector<DeviceSpec>& devices_;
  const DeviceSpec& smallest_;
};

std::string Devices(const PlanOptions& options) {
  return absl::StrCat(" (", options.tp * options.pp, " devices)");
}

}  // namespace

std::vector<std::string> ChangesThatFit(const ModelSpec& spec,
                                        const std::vector<DeviceSpec>& devices,
                                        const PlanOptions& options) {
  const Adviser adviser(spec, devices);
  std::vector<std::string> changes;
  PlanOptions changed = options;
  if (const int tp =
          adviser.LargerDegree(options, &PlanOptions::tp, spec.num_heads);
      tp > 0) {
    changed.tp = tp;
    changes.push_back(
        absl::StrCat("--tensor-parallel-size ", tp, Devices(changed)));
  }
  changed = options;
  if (const int pp =
          adviser.LargerDegree(options, &PlanOptions::pp, spec.num_layers);
      pp > 0) {
    changed.pp = pp;
    changes.push_back(
        absl::StrCat("--pipeline-parallel-size ", pp, Devices(changed)));
  }
  changed = options;
  if (const int64_t length = adviser.ShorterModelLen(options);
      length > 0 && options.num_blocks == 0) {
    changes.push_back(absl::StrCat("--max-model-len ", length));
  }
  changed.weight_dtype = DType::kBFloat16;
  if (ByteSize(options.weight_dtype) > ByteSize(changed.weight_dtype) &&
      adviser.Fits(changed)) {
    changes.push_back("--dtype bfloat16");
  }
  changed = options;
  changed.kv_cache_dtype =
      KvCacheDType(std::nullopt, spec, DeviceKind::kGpu);  // of 16 bits
  if (changed.kv_cache_dtype != options.kv_cache_dtype &&
      adviser.Fits(changed)) {
    changes.push_back(
        absl::StrCat("--kv-cache-dtype ", Name(*changed.kv_cache_dtype)));
  }
  changed = options;
  for (const Quantization quantization :
       {Quantization::kAuto, Quantization::kQ8, Quantization::kQ4}) {
    changed.quantization = quantization;
    if (quantization == options.quantization ||
        !CheckQuantization(spec, quantization).ok() || !adviser.Fits(changed)) {
      continue;
    }
    changes.push_back(absl::StrCat("--quantization ", Name(quantization)));
    break;
  }
  changed = options;
  changed.max_rows_per_step = std::min<int64_t>(64, options.max_rows_per_step);
  if (changed.max_rows_per_step < options.max_rows_per_step &&
      adviser.Fits(changed)) {
    changes.push_back(
        absl::StrCat("--max-num-batched-tokens ", changed.max_rows_per_step));
  }
  return changes;
}

}  // namespace caravan::partition
