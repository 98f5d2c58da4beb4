#include "partition/plan/kv_cache_dtype.h"

#include "absl/strings/str_cat.h"

namespace caravan::partition {

absl::StatusOr<std::optional<DType>> ParseKvCacheDType(absl::string_view name) {
  if (name == "auto") return std::nullopt;
  const absl::StatusOr<DType> dtype = ParseDType(name);
  if (dtype.ok()) return *dtype;
  return absl::InvalidArgumentError(
      absl::StrCat("--kv-cache-dtype must be auto, float32, float16 or "
                   "bfloat16, is ",
                   name));
}

DType KvCacheDType(std::optional<DType> asked, const ModelSpec& spec,
                   DeviceKind device) {
  if (asked.has_value()) return *asked;
  if (device == DeviceKind::kCpu) return DType::kFloat32;
  return spec.dtype == DType::kBFloat16 ? DType::kBFloat16 : DType::kFloat16;
}

}  // namespace caravan::partition
