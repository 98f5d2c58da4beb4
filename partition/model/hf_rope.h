// The rotary embedding's part of config.json.
#ifndef CARAVAN_PARTITION_MODEL_HF_ROPE_H_
#define CARAVAN_PARTITION_MODEL_HF_ROPE_H_

#include "absl/status/status.h"
#include "partition/model/json_fields.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// Fills spec.rope. spec.max_positions must hold max_position_embeddings; under
// linear and dynamic scaling it becomes the stretched context, as vLLM has it:
// there the field holds the context of the training. Errors as ParseHfConfig's.
absl::Status ReadHfRope(const JsonFields& config, ModelSpec& spec);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_HF_ROPE_H_
