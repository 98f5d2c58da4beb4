// Where the scheduler's thread leaves tokens for a connection.
#ifndef CARAVAN_COORDINATOR_API_TOKEN_INBOX_H_
#define CARAVAN_COORDINATOR_API_TOKEN_INBOX_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "coordinator/schedule/generation_request.h"

namespace caravan::coordinator {

struct TokenEvent {
  struct End {
    FinishReason reason = FinishReason::kStop;
    absl::Status status;
  };
  int choice = 0;
  // Exactly one of these.
  std::optional<GeneratedToken> token;
  std::optional<std::vector<TokenLogprob>> prompt_scores;
  std::optional<End> end;
};

// Filled by the sinks of one HTTP request's sequences, emptied by its
// connection. Thread-safe. Sinks keep it alive.
class TokenInbox final : public std::enable_shared_from_this<TokenInbox> {
 public:
  // `wake` is called, from the scheduler's thread and at most once between two
  // calls of Drain, when there is something to drain; it must return at once
  // and not call back. More than `max_pending_bytes` of waiting events are
  // dropped, which Drain reports.
  TokenInbox(std::function<void()> wake, int64_t max_pending_bytes);

  std::shared_ptr<TokenSink> MakeSink(int choice);

  // What came since the last call, in order for each choice.
  // kResourceExhausted: more came than was taken in time; events are missing.
  absl::Status Drain(std::vector<TokenEvent>* events);

  // `wake` is not called any more once this has returned.
  void Close();

 private:
  class Sink;
  void Add(TokenEvent event, int64_t bytes);

  const int64_t max_pending_bytes_;
  absl::Mutex mutex_;
  std::function<void()> wake_ ABSL_GUARDED_BY(mutex_);
  std::vector<TokenEvent> events_ ABSL_GUARDED_BY(mutex_);
  int64_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool is_woken_ ABSL_GUARDED_BY(mutex_) = false;
  bool overflowed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_TOKEN_INBOX_H_
