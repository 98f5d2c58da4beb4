// In which type keys and values are held: docs/decisions/0015.
#ifndef CARAVAN_PARTITION_PLAN_KV_CACHE_DTYPE_H_
#define CARAVAN_PARTITION_PLAN_KV_CACHE_DTYPE_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/dtype.h"
#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// "auto" is nothing, others are names of types. kInvalidArgument lists them.
absl::StatusOr<std::optional<DType>> ParseKvCacheDType(absl::string_view name);

// What `asked` stands for on a device of this kind. Nothing asked: float32 on
// CPUs; on GPUs bfloat16 for a checkpoint in it, float16 for others.
DType KvCacheDType(std::optional<DType> asked, const ModelSpec& spec,
                   DeviceKind device);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_KV_CACHE_DTYPE_H_
