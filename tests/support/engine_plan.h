// Plans for engines under test, without a coordinator.
#ifndef CARAVAN_TESTS_SUPPORT_ENGINE_PLAN_H_
#define CARAVAN_TESTS_SUPPORT_ENGINE_PLAN_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "caravan/v1/plan.pb.h"
#include "partition/model/model_spec.h"

namespace caravan::testing {

struct EnginePlanOptions {
  int tp = 1;
  // Of heads, columns and vocabulary, for each tensor-parallel rank; empty: all
  // equal.
  std::vector<double> shares;
  int pp = 1;
  int64_t num_blocks = 64;
  int64_t max_model_len = 256;
  int64_t max_rows_per_step = 64;
  int num_threads = 1;
  std::string weight_dtype = "auto";
  std::string quantization = "auto";
  std::string activation_dtype = "float32";
  std::string kv_cache_dtype = "float32";
};

absl::StatusOr<v1::EnginePlan> MakeEnginePlan(const partition::ModelSpec& spec,
                                              const EnginePlanOptions& options);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_ENGINE_PLAN_H_
