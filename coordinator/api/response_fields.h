// Parts that both forms of answers share.
#ifndef CARAVAN_COORDINATOR_API_RESPONSE_FIELDS_H_
#define CARAVAN_COORDINATOR_API_RESPONSE_FIELDS_H_

#include <nlohmann/json.hpp>

#include "absl/strings/string_view.h"
#include "coordinator/api/choice_stream.h"
#include "coordinator/api/generation_session.h"
#include "coordinator/api/response_writer.h"

namespace caravan::coordinator {

// {"id","object","created","model"}, to which the rest is added.
nlohmann::ordered_json ResponseHead(const ResponseIdentity& identity,
                                    absl::string_view object);

// Sets choice["finish_reason"] and choice["stop_reason"] (vLLM's: the stop
// token's id, the stop string or null).
void SetEnd(const std::optional<ChoiceEnd>& end,
            nlohmann::ordered_json* choice);

nlohmann::ordered_json UsageJson(const Usage& usage);

// A log-probability as a number that JSON can spell: -infinity becomes -9999,
// as in vLLM.
double FiniteLogprob(float logprob);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_RESPONSE_FIELDS_H_
