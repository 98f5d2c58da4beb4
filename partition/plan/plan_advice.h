// What to say when a model does not fit.
#ifndef CARAVAN_PARTITION_PLAN_PLAN_ADVICE_H_
#define CARAVAN_PARTITION_PLAN_PLAN_ADVICE_H_

#include <string>
#include <vector>

#include "partition/model/model_spec.h"
#include "partition/plan/plan.h"

namespace caravan::partition {

// The single changes that would make it fit, each tried: "--pipeline-parallel-
// size 4 (8 devices)", "--max-model-len 2048", ... More devices are taken to be
// like the smallest. Resolved options; empty: no single one would.
std::vector<std::string> ChangesThatFit(const ModelSpec& spec,
                                        const std::vector<DeviceSpec>& devices,
                                        const PlanOptions& options);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_PLAN_PLAN_ADVICE_H_
