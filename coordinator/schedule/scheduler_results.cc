#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "coordinator/schedule/scheduler_impl.h"
#include "coordinator/schedule/step_messages.h"

namespace caravan::coordinator {
namespace {

template <typename... Values>
absl::Status Refuse(const v1::StepResult& result, const Values&... what) {
  return absl::InternalError(
      absl::StrCat("result breaks the step protocol: epoch=", result.epoch(),
                   " step=", result.number(), ": ", what...));
}

}  // namespace

absl::Status Scheduler::Impl::CheckResult(const v1::StepResult& result) const {
  if (in_flight_.empty()) return Refuse(result, "no step is in flight");
  const StepRecord& record = in_flight_.front();
  if (result.number() != record.number) {
    return Refuse(result, "expected step=", record.number);
  }
  int next = 0;
  for (const EntryRecord& entry : record.entries) {
    const bool expected = entry.sample || entry.num_prompt_logprobs > 0;
    if (next == result.sequences_size() ||
        result.sequences(next).sequence() != entry.sequence) {
      if (!expected) continue;
      return Refuse(result, "nothing for sequence=", entry.sequence);
    }
    const v1::SequenceResult& sequence = result.sequences(next++);
    if (sequence.has_id() != entry.sample ||
        (sequence.has_id() && sequence.id() < 0)) {
      return Refuse(result, "sequence=", entry.sequence,
                    " sampled=", sequence.has_id(), " id=", sequence.id(),
                    " expected sampled=", entry.sample);
    }
    if (entry.sample && entry.logprobs && !sequence.has_logprobs()) {
      return Refuse(result,
                    "no log-probabilities for sequence=", entry.sequence);
    }
    if (sequence.prompt_logprobs_size() != entry.num_prompt_logprobs) {
      return Refuse(
          result, "sequence=", entry.sequence,
          " prompt log-probabilities=", sequence.prompt_logprobs_size(),
          " expected=", entry.num_prompt_logprobs);
    }
  }
  if (next != result.sequences_size()) {
    return Refuse(result, "not in the step: sequence=",
                  result.sequences(next).sequence());
  }
  return absl::OkStatus();
}

void Scheduler::Impl::ApplyResult(const v1::StepResult& result) {
  const StepRecord record = std::move(in_flight_.front());
  in_flight_.pop_front();
  ++totals_.steps_completed;
  int next = 0;
  for (const EntryRecord& entry : record.entries) {
    const v1::SequenceResult* sequence = nullptr;
    if (next < result.sequences_size() &&
        result.sequences(next).sequence() == entry.sequence) {
      sequence = &result.sequences(next++);
    }
    ApplyEntry(entry, sequence);
  }
}

void Scheduler::Impl::ApplyEntry(const EntryRecord& entry,
                                 const v1::SequenceResult* result) {
  const auto place = running_.find(entry.request);
  // Cancelled, finished or preempted since: what the step did is discarded.
  if (place == running_.end() || place->second->sequence != entry.sequence) {
    return;
  }
  Request& request = *place->second;
  if (result != nullptr) {
    for (const v1::TokenLogprobs& logprobs : result->prompt_logprobs()) {
      request.prompt_logprobs.push_back(FromMessage(logprobs));
    }
  }
  if (entry.ends_prefill && !request.prefilled) {
    if (request.WantsPromptLogprobs()) {
      deliveries_.push_back(
          {request.id, request.sink,
           PromptLogprobsEvent{std::move(request.prompt_logprobs)}});
    }
    request.prefilled = true;
    totals_.prompt_tokens +=
        static_cast<int64_t>(request.request.prompt.size());
  }
  if (entry.sample) {
    GeneratedToken token{.id = result->id()};
    if (entry.logprobs) token.logprob = FromMessage(result->logprobs());
    request.generated.push_back(token.id);
    ++totals_.generated_tokens;
    deliveries_.push_back({request.id, request.sink, std::move(token)});
    const std::vector<int32_t>& stops = request.request.stop_tokens;
    if (std::find(stops.begin(), stops.end(), request.generated.back()) !=
        stops.end()) {
      Finish(&request, FinishReason::kStop);
      return;
    }
  }
  if ((entry.sample || entry.ends_prefill) &&
      static_cast<int64_t>(request.generated.size()) >=
          request.max_new_tokens) {
    Finish(&request, FinishReason::kLength);
  }
}

void Scheduler::Impl::Finish(Request* request, FinishReason reason) {
  LeaveEngines(request);
  deliveries_.push_back({request->id, std::move(request->sink),
                         FinishedEvent{reason, absl::OkStatus()}});
  requests_.erase(request->id);
}

}  // namespace caravan::coordinator
