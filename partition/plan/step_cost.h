// What a step costs at least, whatever runs it: the limits that speeds are held
// against. Pure functions.
#ifndef CARAVAN_PARTITION_PLAN_STEP_COST_H_
#define CARAVAN_PARTITION_PLAN_STEP_COST_H_

#include <cstdint>

#include "partition/model/model_spec.h"
#include "partition/plan/held_format.h"

namespace caravan::partition {

// Bytes of weights that a whole model reads to decode one token: all matrices
// but the embedding, of which it takes a row.
int64_t BytesPerToken(const ModelSpec& spec, const HoldOptions& options);

// Multiplications and additions with weights that a prompt takes; only its last
// token goes through the head. Those of attention are not counted.
double PromptOperations(const ModelSpec& spec, int64_t num_tokens);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_STEP_COST_H_
