#include <algorithm>
#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/schedule/scheduler_impl.h"
#include "coordinator/schedule/step_messages.h"

namespace caravan::coordinator {

void Scheduler::Impl::PlanSteps() {
  if (group_ == nullptr) return;
  while (static_cast<int64_t>(in_flight_.size()) < MaxSteps()) {
    std::optional<v1::Step> step = NextStep();
    if (!step.has_value()) return;
    outbox_.push_back(*std::move(step));
  }
}

std::optional<v1::Step> Scheduler::Impl::NextStep() {
  BalanceGroups();
  // The group whose turn it is, or the next one that has work: with fewer
  // sequences than stages one may run in steps that follow each other, and the
  // first stage waits for its id.
  for (int i = 0; i < info_.num_stages; ++i) {
    const int group = (next_group_ + i) % info_.num_stages;
    const StepDecision decision = policy_.Next(Snapshot(group));
    if (decision.scheduled.empty() && decision.preempted.empty()) continue;
    next_group_ = (group + 1) % info_.num_stages;
    return MakeStep(decision, group);
  }
  if (to_drop_.empty()) return std::nullopt;
  // Nothing runs, yet engines must learn what to forget.
  return MakeStep(StepDecision(), next_group_);
}

// Each sequence brings one token to most of its group's steps, so groups of
// equal size have equal steps. The policy admits that way; this repairs what
// leaving sequences have done.
void Scheduler::Impl::BalanceGroups() {
  if (info_.num_stages == 1) return;
  std::vector<std::vector<Request*>> groups(info_.num_stages);
  for (const auto& [id, request] : running_) {
    groups[request->group].push_back(request);
  }
  const auto smaller = [](const auto& a, const auto& b) {
    return a.size() < b.size();
  };
  while (true) {
    const auto [least, most] =
        std::minmax_element(groups.begin(), groups.end(), smaller);
    if (most->size() - least->size() < 2) return;
    Request* const youngest = most->back();
    most->pop_back();
    least->push_back(youngest);
    youngest->group = static_cast<int>(least - groups.begin());
  }
}

ScheduleSnapshot Scheduler::Impl::Snapshot(int group) const {
  ScheduleSnapshot snapshot;
  snapshot.free_blocks = allocator_.num_free();
  snapshot.max_tokens = max_step_tokens_;
  snapshot.max_sequences = max_running_;
  snapshot.num_groups = info_.num_stages;
  snapshot.group = group;
  snapshot.running.reserve(running_.size());
  for (const auto& [id, request] : running_) {
    const int64_t num_left = request->num_prefill - request->num_cached;
    snapshot.running.push_back(
        {.sequence = id,
         .arrival = static_cast<int64_t>(id),
         .num_cached = request->num_cached,
         .num_prompt_left = std::max<int64_t>(num_left, 0),
         .num_blocks = static_cast<int64_t>(request->blocks.size()),
         .decodable =
             num_left <= 0 && request->num_generated < request->max_new_tokens,
         .group = request->group});
  }
  const int64_t room = max_running_ - static_cast<int64_t>(running_.size());
  for (const auto& [id, request] : waiting_) {
    if (static_cast<int64_t>(snapshot.waiting.size()) >= room) break;
    snapshot.waiting.push_back({.sequence = id,
                                .arrival = static_cast<int64_t>(id),
                                .num_tokens = request->num_known()});
  }
  return snapshot;
}

v1::Step Scheduler::Impl::MakeStep(const StepDecision& decision, int group) {
  v1::Step step;
  step.set_epoch(info_.epoch);
  step.set_number(++last_step_);
  for (const uint64_t id : decision.preempted) Preempt(id);
  for (const uint64_t sequence : to_drop_) {
    step.add_dropped_sequences(sequence);
  }
  to_drop_.clear();
  for (const uint64_t id : decision.admitted) Admit(id, group, &step);
  StepRecord record{.number = last_step_};
  for (const ScheduledSequence& scheduled : decision.scheduled) {
    AddEntry(scheduled, &step, &record);
  }
  in_flight_.push_back(std::move(record));
  return step;
}

// Tokens of steps in flight are not waited for: they are sampled again.
void Scheduler::Impl::Preempt(RequestId id) {
  const auto place = running_.find(id);
  CARAVAN_CHECK(place != running_.end());
  Request* const request = place->second;
  LeaveEngines(request);
  request->prompt_logprobs.clear();
  waiting_[id] = request;
  ++totals_.preemptions;
}

void Scheduler::Impl::Admit(RequestId id, int group, v1::Step* step) {
  const auto place = waiting_.find(id);
  CARAVAN_CHECK(place != waiting_.end());
  Request* const request = place->second;
  waiting_.erase(place);
  running_[id] = request;
  request->sequence = ++last_sequence_;
  request->group = group;
  request->num_prefill = request->num_known();
  request->num_cached = 0;
  request->num_generated = static_cast<int64_t>(request->generated.size());
  v1::NewSequence* const added = step->add_new_sequences();
  added->set_sequence(request->sequence);
  *added->mutable_sampling() = ToMessage(request->request.sampling);
  if (!request->WantsPromptLogprobs()) {
    added->mutable_sampling()->set_prompt_logprobs(-1);
  }
}

void Scheduler::Impl::AddEntry(const ScheduledSequence& scheduled,
                               v1::Step* step, StepRecord* record) {
  const auto place = running_.find(scheduled.sequence);
  CARAVAN_CHECK(place != running_.end() && scheduled.num_tokens >= 1);
  Request& request = *place->second;
  const int64_t begin = request.num_cached;
  const int64_t end = begin + scheduled.num_tokens;
  const bool prefills = begin < request.num_prefill;
  CARAVAN_CHECK(prefills ? end <= request.num_prefill : end == begin + 1);

  v1::StepEntry* const entry = step->add_entries();
  entry->set_sequence(request.sequence);
  const size_t num_blocks = request.blocks.size();
  allocator_.Allocate(scheduled.num_new_blocks, &request.blocks);
  for (size_t i = num_blocks; i < request.blocks.size(); ++i) {
    entry->add_new_blocks(request.blocks[i]);
  }
  const bool reaches_end = end >= request.num_prefill;
  const bool prompt_logprobs = prefills && request.WantsPromptLogprobs();
  if (prefills) {
    for (int64_t i = begin; i < end; ++i) entry->add_ids(request.TokenAt(i));
    if (prompt_logprobs && !reaches_end) {
      entry->set_next_id(request.TokenAt(end));
    }
  }
  entry->set_sample(reaches_end &&
                    request.num_generated < request.max_new_tokens);
  record->entries.push_back(
      {.request = request.id,
       .sequence = request.sequence,
       .sample = entry->sample(),
       .ends_prefill = prefills && reaches_end,
       .num_prompt_logprobs =
           prompt_logprobs ? scheduled.num_tokens - (reaches_end ? 1 : 0) : 0,
       .logprobs = request.request.sampling.logprobs >= 0});
  request.num_cached = end;
  if (entry->sample()) ++request.num_generated;
}

}  // namespace caravan::coordinator
