#include "coordinator/schedule/scheduler.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/checked_math.h"
#include "base/status_macros.h"
#include "coordinator/schedule/scheduler_impl.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {

Scheduler::Scheduler(const SchedulerOptions& options)
    : impl_(std::make_unique<Impl>(options)) {}

Scheduler::~Scheduler() = default;

absl::StatusOr<RequestId> Scheduler::Submit(GenerationRequest request,
                                            std::shared_ptr<TokenSink> sink) {
  return impl_->Submit(std::move(request), std::move(sink));
}

void Scheduler::Cancel(RequestId id) { impl_->Cancel(id); }

void Scheduler::OnEpochStarted(EngineGroup* group) {
  impl_->OnEpochStarted(group);
}

absl::Status Scheduler::OnStepResult(const v1::StepResult& result) {
  return impl_->OnStepResult(result);
}

void Scheduler::OnEpochEnded(const absl::Status& cause) {
  impl_->OnEpochEnded(cause);
}

SchedulerStats Scheduler::Stats() const { return impl_->Stats(); }

Scheduler::Impl::Impl(const SchedulerOptions& options)
    : options_(options),
      default_policy_(options.policy == nullptr ? MakeFirstComePolicy()
                                                : nullptr),
      policy_(options.policy == nullptr ? *default_policy_ : *options.policy) {}

Scheduler::Impl::~Impl() {
  OnEpochEnded(absl::UnavailableError("the scheduler is shut down"));
  absl::MutexLock lock(&mutex_);
  // Whoever still empties the deliveries uses this object.
  mutex_.Await(absl::Condition(
      +[](Impl* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
        return !self->calling_;
      },
      this));
}

absl::StatusOr<RequestId> Scheduler::Impl::Submit(
    GenerationRequest request, std::shared_ptr<TokenSink> sink) {
  RequestId id = 0;
  {
    absl::MutexLock lock(&mutex_);
    CARAVAN_RETURN_IF_ERROR(CheckRequest(request));
    id = ++last_id_;
    auto entry = std::make_unique<Request>();
    entry->id = id;
    entry->request = std::move(request);
    entry->sink = std::move(sink);
    // Its last token needs no room in the cache.
    const int64_t max_length =
        std::min(info_.max_model_len,
                 allocator_.num_blocks() * partition::kBlockTokens + 1);
    entry->max_new_tokens =
        std::min(entry->request.max_tokens, max_length - entry->num_known());
    entry->max_new_tokens = std::max<int64_t>(entry->max_new_tokens, 0);
    waiting_[id] = entry.get();
    requests_[id] = std::move(entry);
    PlanSteps();
  }
  IssueSteps();
  return id;
}

absl::Status Scheduler::Impl::CheckRequest(
    const GenerationRequest& request) const {
  if (group_ == nullptr) {
    return absl::UnavailableError("no replica is running");
  }
  const int64_t num_prompt = static_cast<int64_t>(request.prompt.size());
  if (num_prompt == 0) return absl::InvalidArgumentError("prompt is empty");
  if (request.max_tokens < 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "max_tokens is negative: max_tokens=", request.max_tokens));
  }
  const int64_t num_least = num_prompt + (request.max_tokens > 0 ? 1 : 0);
  if (num_least > info_.max_model_len) {
    return absl::InvalidArgumentError(absl::StrCat(
        "prompt leaves the model no room: prompt_tokens=", num_prompt,
        " max_tokens=", request.max_tokens,
        " max_model_len=", info_.max_model_len));
  }
  const int64_t num_blocks = CeilDivide(num_prompt, partition::kBlockTokens);
  if (num_blocks > allocator_.num_blocks()) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "prompt can never fit the KV cache: prompt_tokens=", num_prompt,
        " blocks=", num_blocks, " blocks_total=", allocator_.num_blocks()));
  }
  if (static_cast<int64_t>(waiting_.size()) >= options_.max_queued_requests) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the queue is full: waiting=", waiting_.size(),
                     " max_queued_requests=", options_.max_queued_requests));
  }
  return absl::OkStatus();
}

void Scheduler::Impl::Cancel(RequestId id) {
  // Destroyed without the lock: a sink's destructor is foreign code.
  std::unique_ptr<Request> cancelled;
  std::vector<Delivery> dropped;
  {
    absl::MutexLock lock(&mutex_);
    const auto place = requests_.find(id);
    if (place != requests_.end()) {
      if (place->second->sequence != 0) LeaveEngines(place->second.get());
      waiting_.erase(id);
      cancelled = std::move(place->second);
      requests_.erase(place);
      PlanSteps();
    }
    std::deque<Delivery> kept;
    for (Delivery& delivery : deliveries_) {
      if (delivery.request == id) {
        dropped.push_back(std::move(delivery));
      } else {
        kept.push_back(std::move(delivery));
      }
    }
    deliveries_ = std::move(kept);
  }
  IssueSteps();
  absl::MutexLock lock(&mutex_);
  if (called_request_ != id || calling_thread_ == std::this_thread::get_id()) {
    return;
  }
  // A call to this sink is being made: as short as sinks promise to be.
  struct Waiter {
    Impl* self;
    RequestId id;
  } waiter{this, id};
  mutex_.Await(absl::Condition(
      +[](Waiter* waiter) ABSL_NO_THREAD_SAFETY_ANALYSIS {
        return waiter->self->called_request_ != waiter->id;
      },
      &waiter));
}

void Scheduler::Impl::OnEpochStarted(EngineGroup* group) {
  OnEpochEnded(absl::AbortedError("another epoch starts"));
  absl::MutexLock lock(&mutex_);
  info_ = group->info();
  info_.num_stages = std::max(info_.num_stages, 1);
  max_step_tokens_ =
      std::min(options_.max_batched_tokens, info_.max_rows_per_step);
  // Each running sequence must fit its group's step with one token.
  max_running_ = std::min({options_.max_sequences, info_.max_sequences,
                           max_step_tokens_ * info_.num_stages});
  allocator_ = BlockAllocator(info_.num_blocks);
  last_step_ = 0;
  last_sequence_ = 0;
  next_group_ = 0;
  group_ = group;
}

absl::Status Scheduler::Impl::OnStepResult(const v1::StepResult& result) {
  {
    absl::MutexLock lock(&mutex_);
    if (group_ == nullptr || result.epoch() != info_.epoch) {
      return absl::OkStatus();
    }
    CARAVAN_RETURN_IF_ERROR(CheckResult(result));
    ApplyResult(result);
    PlanSteps();
  }
  // Engines before clients: the next step does not wait for sinks.
  IssueSteps();
  CallSinks();
  return absl::OkStatus();
}

void Scheduler::Impl::OnEpochEnded(const absl::Status& cause) {
  {
    absl::MutexLock lock(&mutex_);
    const absl::Status status = absl::UnavailableError(
        absl::StrCat("the replica was lost: ", cause.message()));
    for (auto& [id, request] : requests_) {
      deliveries_.push_back({id, std::move(request->sink),
                             FinishedEvent{FinishReason::kError, status}});
    }
    requests_.clear();
    waiting_.clear();
    running_.clear();
    group_ = nullptr;
    allocator_ = BlockAllocator(0);
    to_drop_.clear();
    in_flight_.clear();
    outbox_.clear();
    // The group may go when this returns. Issue never blocks.
    if (issuing_thread_ != std::this_thread::get_id()) {
      mutex_.Await(absl::Condition(
          +[](Impl* self) ABSL_EXCLUSIVE_LOCKS_REQUIRED(self->mutex_) {
            return !self->issuing_;
          },
          this));
    }
  }
  CallSinks();
}

SchedulerStats Scheduler::Impl::Stats() const {
  absl::MutexLock lock(&mutex_);
  SchedulerStats stats = totals_;
  stats.ready = group_ != nullptr;
  stats.epoch = info_.epoch;
  stats.num_waiting = static_cast<int64_t>(waiting_.size());
  stats.num_running = static_cast<int64_t>(running_.size());
  stats.blocks_total = allocator_.num_blocks();
  stats.blocks_used = allocator_.num_used();
  stats.steps_in_flight = static_cast<int64_t>(in_flight_.size());
  return stats;
}

void Scheduler::Impl::IssueSteps() {
  mutex_.Lock();
  if (!issuing_) {
    issuing_ = true;
    issuing_thread_ = std::this_thread::get_id();
    while (!outbox_.empty()) {
      const v1::Step step = std::move(outbox_.front());
      outbox_.pop_front();
      EngineGroup* const group = group_;
      mutex_.Unlock();
      group->Issue(step);
      mutex_.Lock();
    }
    issuing_ = false;
    issuing_thread_ = std::thread::id();
  }
  mutex_.Unlock();
}

void Scheduler::Impl::CallSinks() {
  struct Caller {
    TokenSink& sink;
    void operator()(PromptLogprobsEvent& event) const {
      sink.OnPromptLogprobs(std::move(event.logprobs));
    }
    void operator()(const GeneratedToken& token) const { sink.OnToken(token); }
    void operator()(const FinishedEvent& event) const {
      sink.OnFinished(event.reason, event.status);
    }
  };
  mutex_.Lock();
  if (!calling_) {
    calling_ = true;
    calling_thread_ = std::this_thread::get_id();
    while (!deliveries_.empty()) {
      std::optional<Delivery> delivery = std::move(deliveries_.front());
      deliveries_.pop_front();
      called_request_ = delivery->request;
      mutex_.Unlock();
      std::visit(Caller{*delivery->sink}, delivery->event);
      delivery.reset();
      mutex_.Lock();
      called_request_ = 0;
    }
    calling_ = false;
    calling_thread_ = std::thread::id();
  }
  mutex_.Unlock();
}

void Scheduler::Impl::LeaveEngines(Request* request) {
  allocator_.Free(request->blocks);
  to_drop_.push_back(request->sequence);
  running_.erase(request->id);
  request->blocks.clear();
  request->sequence = 0;
}

int64_t Scheduler::Impl::MaxSteps() const {
  return std::max(info_.num_stages + 1, 2);
}

}  // namespace caravan::coordinator
