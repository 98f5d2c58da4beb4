#include "tests/support/local_ranks.h"

#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "worker/backend/cpu/cpu_backend.h"
#include "worker/comm/local/local_world.h"
#include "worker/engine/model_executor.h"

namespace caravan::testing {
namespace {

// Emulated GPUs with a sanitizer need minutes for some steps.
constexpr absl::Duration kPatience = absl::Minutes(10);

}  // namespace

using worker::ModelExecutor;

class LocalRanks::Impl {
 public:
  Impl(const partition::ModelSource& source, const v1::EnginePlan& plan,
       MakeBackend make_backend)
      : source_(source),
        plan_(plan),
        make_backend_(std::move(make_backend)),
        worlds_(worker::CreateLocalWorlds(plan.ranks_size())),
        steps_(plan.ranks_size()) {
    for (int rank = 0; rank < plan.ranks_size(); ++rank) {
      threads_.emplace_back([this, rank] {
        const absl::Status status = RunRank(rank);
        absl::MutexLock lock(&mutex_);
        if (first_error_.ok()) first_error_ = status;
      });
    }
  }

  ~Impl() {
    {
      absl::MutexLock lock(&mutex_);
      ending_ = true;
    }
    for (std::thread& thread : threads_) thread.join();
  }

  absl::Status WaitUntilLoaded() {
    absl::MutexLock lock(&mutex_);
    const auto loaded = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return num_loaded_ == plan_.ranks_size() || !first_error_.ok();
    };
    mutex_.Await(absl::Condition(&loaded));
    return first_error_;
  }

  void Issue(const v1::Step& step) {
    absl::MutexLock lock(&mutex_);
    for (std::deque<v1::Step>& queue : steps_) queue.push_back(step);
  }

  absl::StatusOr<v1::StepResult> NextResult() {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !results_.empty() || !first_error_.ok();
    };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&ready), kPatience)) {
      return absl::DeadlineExceededError(absl::StrCat(
          "no step result after ", absl::FormatDuration(kPatience)));
    }
    if (!first_error_.ok()) return first_error_;
    v1::StepResult result = std::move(results_.front());
    results_.pop_front();
    return result;
  }

  std::vector<float> TakeLogits() {
    absl::MutexLock lock(&mutex_);
    return std::exchange(logits_, {});
  }

 private:
  absl::Status RunRank(int rank) {
    CARAVAN_ASSIGN_OR_RETURN(std::unique_ptr<worker::Backend> backend,
                             make_backend_(plan_.ranks(rank)));
    CARAVAN_ASSIGN_OR_RETURN(
        std::unique_ptr<ModelExecutor> executor,
        ModelExecutor::Create({.plan = &plan_,
                               .rank = rank,
                               .source = &source_,
                               .backend = backend.get(),
                               .world = worlds_[rank].get()}));
    const bool reports = rank == (plan_.pp() - 1) * plan_.tp();
    if (reports) {
      executor->sampler()->SetObserver(
          [this, &backend](const Tensor& logits, absl::Span<const int64_t>) {
            KeepLogits(*backend, logits);
          });
    }
    {
      absl::MutexLock lock(&mutex_);
      ++num_loaded_;
    }
    v1::Step step;
    while (NextStep(rank, &step)) {
      CARAVAN_ASSIGN_OR_RETURN(v1::StepResult result, executor->Execute(step));
      if (!reports) continue;
      absl::MutexLock lock(&mutex_);
      results_.push_back(std::move(result));
    }
    return absl::OkStatus();
  }

  void KeepLogits(worker::Backend& backend, const Tensor& logits) {
    std::vector<float> values(logits.count());
    const absl::Status status = backend.CopyOut(
        logits, absl::MakeSpan(reinterpret_cast<std::byte*>(values.data()),
                               values.size() * sizeof(float)));
    absl::MutexLock lock(&mutex_);
    if (first_error_.ok()) first_error_ = status;
    logits_.insert(logits_.end(), values.begin(), values.end());
  }

  bool NextStep(int rank, v1::Step* step) {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this, rank]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return !steps_[rank].empty() || ending_;
    };
    mutex_.Await(absl::Condition(&ready));
    if (steps_[rank].empty()) return false;
    *step = std::move(steps_[rank].front());
    steps_[rank].pop_front();
    return true;
  }

  const partition::ModelSource& source_;
  const v1::EnginePlan& plan_;
  const MakeBackend make_backend_;
  const std::vector<std::unique_ptr<worker::World>> worlds_;
  absl::Mutex mutex_;
  std::vector<std::deque<v1::Step>> steps_ ABSL_GUARDED_BY(mutex_);
  std::deque<v1::StepResult> results_ ABSL_GUARDED_BY(mutex_);
  std::vector<float> logits_ ABSL_GUARDED_BY(mutex_);
  absl::Status first_error_ ABSL_GUARDED_BY(mutex_);
  int num_loaded_ ABSL_GUARDED_BY(mutex_) = 0;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_;
};

absl::StatusOr<std::unique_ptr<LocalRanks>> LocalRanks::Start(
    const partition::ModelSource& source, const v1::EnginePlan& plan,
    MakeBackend make_backend) {
  if (make_backend == nullptr) {
    make_backend = [](const v1::RankPlan& rank) {
      return worker::CreateCpuBackend({.num_threads = rank.num_threads()});
    };
  }
  auto impl = std::make_unique<Impl>(source, plan, std::move(make_backend));
  CARAVAN_RETURN_IF_ERROR(impl->WaitUntilLoaded());
  return std::unique_ptr<LocalRanks>(new LocalRanks(std::move(impl)));
}

LocalRanks::LocalRanks(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LocalRanks::~LocalRanks() = default;
void LocalRanks::Issue(const v1::Step& step) { impl_->Issue(step); }
absl::StatusOr<v1::StepResult> LocalRanks::NextResult() {
  return impl_->NextResult();
}
std::vector<float> LocalRanks::TakeLogits() { return impl_->TakeLogits(); }

}  // namespace caravan::testing
