// A GGUF file's description of a Llama model.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_SPEC_H_
#define CARAVAN_PARTITION_MODEL_GGUF_SPEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/gguf_file.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

inline constexpr absl::string_view kGgufRopeFactors = "rope_freqs.weight";

// A valid spec but for dtype, which is the source's matter. kInvalidArgument: a
// key is missing or out of range; kUnimplemented: a key asks for arithmetic
// that is not built. Errors name the key.
absl::StatusOr<ModelSpec> ReadGgufSpec(const GgufFile& file);

// GGUF's name of a tensor that tensor_names.h names: "blk.3.attn_q.weight".
std::string GgufTensorName(absl::string_view name);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_SPEC_H_
