#include "coordinator/schedule/step_messages.h"

namespace caravan::coordinator {

v1::SamplingParameters ToMessage(const SamplingParameters& sampling) {
  v1::SamplingParameters message;
  message.set_temperature(sampling.temperature);
  message.set_top_k(sampling.top_k);
  message.set_top_p(sampling.top_p);
  message.set_min_p(sampling.min_p);
  message.set_seed(sampling.seed);
  message.set_logprobs(sampling.logprobs);
  message.set_prompt_logprobs(sampling.prompt_logprobs);
  return message;
}

TokenLogprob FromMessage(const v1::TokenLogprobs& message) {
  return {.id = message.id(),
          .logprob = message.logprob(),
          .top_ids = {message.top_ids().begin(), message.top_ids().end()},
          .top_logprobs = {message.top_logprobs().begin(),
                           message.top_logprobs().end()}};
}

}  // namespace caravan::coordinator
