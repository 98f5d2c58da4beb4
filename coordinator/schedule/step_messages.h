// Between the scheduler's structs and the step protocol's messages.
#ifndef CARAVAN_COORDINATOR_SCHEDULE_STEP_MESSAGES_H_
#define CARAVAN_COORDINATOR_SCHEDULE_STEP_MESSAGES_H_

#include "caravan/v1/step.pb.h"
#include "coordinator/schedule/generation_request.h"

namespace caravan::coordinator {

v1::SamplingParameters ToMessage(const SamplingParameters& sampling);
TokenLogprob FromMessage(const v1::TokenLogprobs& message);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_SCHEDULE_STEP_MESSAGES_H_
