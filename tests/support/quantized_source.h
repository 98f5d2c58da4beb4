// A checkpoint whose matrices are quantized, made from any other.
#ifndef CARAVAN_TESTS_SUPPORT_QUANTIZED_SOURCE_H_
#define CARAVAN_TESTS_SUPPORT_QUANTIZED_SOURCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/weight_format.h"
#include "partition/model/model_source.h"

namespace caravan::testing {

using ChooseFormat = std::function<WeightFormat(absl::string_view tensor)>;

// Synthetic weights of `spec`, whose dtype must be float32, encoded in memory;
// vectors stay float32. kInvalidArgument: a row is no whole blocks.
absl::StatusOr<std::unique_ptr<partition::ModelSource>> MakeQuantizedSource(
    const partition::ModelSpec& spec, const ChooseFormat& choose);

// Three layers that blocks divide: 6 heads of 32 (3 KV heads), 352 MLP columns.
partition::ModelSpec QuantizableSpec();

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_QUANTIZED_SOURCE_H_
