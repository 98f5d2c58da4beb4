// A sink that remembers its calls and notices those that may not be.
#ifndef CARAVAN_TESTS_COORDINATOR_SCHEDULE_RECORDING_SINK_H_
#define CARAVAN_TESTS_COORDINATOR_SCHEDULE_RECORDING_SINK_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "coordinator/schedule/generation_request.h"

namespace caravan::coordinator {

// Thread-safe.
class RecordingSink final : public TokenSink {
 public:
  struct Record {
    std::vector<int32_t> tokens;
    std::vector<TokenLogprob> logprobs;
    std::vector<TokenLogprob> prompt_logprobs;
    int num_prompt_logprob_calls = 0;
    int num_finished = 0;
    FinishReason reason = FinishReason::kError;
    absl::Status status;
    std::string misuse;  // empty: none
  };

  // Called at the end of each OnToken, without a lock.
  void OnEachToken(std::function<void(int64_t num_tokens)> action) {
    action_ = std::move(action);
  }

  void OnPromptLogprobs(std::vector<TokenLogprob> logprobs) override {
    absl::MutexLock lock(&mutex_);
    Check();
    if (!record_.tokens.empty()) record_.misuse = "prompt after tokens";
    ++record_.num_prompt_logprob_calls;
    record_.prompt_logprobs = std::move(logprobs);
  }

  void OnToken(const GeneratedToken& token) override {
    int64_t num_tokens = 0;
    {
      absl::MutexLock lock(&mutex_);
      Check();
      record_.tokens.push_back(token.id);
      record_.logprobs.push_back(token.logprob);
      num_tokens = static_cast<int64_t>(record_.tokens.size());
    }
    if (action_) action_(num_tokens);
  }

  void OnFinished(FinishReason reason, const absl::Status& status) override {
    absl::MutexLock lock(&mutex_);
    Check();
    ++record_.num_finished;
    record_.reason = reason;
    record_.status = status;
  }

  // From now on every call is one too many.
  void Close() {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
  }

  // False: not finished in 20 s.
  bool AwaitFinished() {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(
        absl::Condition(
            +[](int* num_finished) { return *num_finished > 0; },
            &record_.num_finished),
        absl::Seconds(20));
  }

  Record record() const {
    absl::MutexLock lock(&mutex_);
    return record_;
  }

 private:
  void Check() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (closed_) record_.misuse = "called after Cancel";
    if (record_.num_finished > 0) record_.misuse = "called after the end";
  }

  std::function<void(int64_t)> action_;
  mutable absl::Mutex mutex_;
  Record record_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_COORDINATOR_SCHEDULE_RECORDING_SINK_H_
