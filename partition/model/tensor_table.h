// Checks that every model source makes in the same way.
#ifndef CARAVAN_PARTITION_MODEL_TENSOR_TABLE_H_
#define CARAVAN_PARTITION_MODEL_TENSOR_TABLE_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "partition/model/model_source.h"
#include "partition/model/tensor_names.h"

namespace caravan::partition {

// Shapes by canonical name.
using TensorTable = absl::flat_hash_map<std::string, TensorInfo>;

// kInvalidArgument, by tensor: an expected one is missing or has another shape,
// or there is one more.
absl::Status CheckTensors(const TensorTable& found,
                          const std::vector<NamedShape>& expected);

// kInvalidArgument: the slice is not inside the tensor, or `out_bytes` is not
// the size of its decoded elements.
absl::Status CheckSlice(absl::string_view name, const TensorInfo& info,
                        const TensorSlice& slice, size_t out_bytes);

// The same for a slice as it is stored; also kInvalidArgument: its columns cut
// blocks.
absl::Status CheckStoredSlice(absl::string_view name, const TensorInfo& info,
                              const TensorSlice& slice, size_t out_bytes);

absl::Status NoSuchTensor(absl::string_view name);  // kNotFound

// The type of most elements of the model's matrices.
DType MostCommonDType(const TensorTable& tensors);

// What is quantized. `tensors` has all that the spec calls for.
StoredFormats FindStoredFormats(const ModelSpec& spec,
                                const TensorTable& tensors);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_TENSOR_TABLE_H_
