#include "coordinator/api/token_inbox.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace caravan::coordinator {
namespace {

int64_t BytesOf(const TokenLogprob& logprob) {
  return static_cast<int64_t>(sizeof(TokenLogprob) +
                              logprob.top_ids.size() * sizeof(int32_t) +
                              logprob.top_logprobs.size() * sizeof(float));
}

}  // namespace

class TokenInbox::Sink final : public TokenSink {
 public:
  Sink(std::shared_ptr<TokenInbox> inbox, int choice)
      : inbox_(std::move(inbox)), choice_(choice) {}

  void OnPromptLogprobs(std::vector<TokenLogprob> logprobs) override {
    // As long as the prompt, which was admitted: does not count as pending.
    inbox_->Add({.choice = choice_, .prompt_scores = std::move(logprobs)}, 0);
  }
  void OnToken(const GeneratedToken& token) override {
    const int64_t bytes =
        static_cast<int64_t>(sizeof(TokenEvent)) + BytesOf(token.logprob);
    inbox_->Add({.choice = choice_, .token = token}, bytes);
  }
  void OnFinished(FinishReason reason, const absl::Status& status) override {
    inbox_->Add({.choice = choice_, .end = TokenEvent::End{reason, status}}, 0);
  }

 private:
  const std::shared_ptr<TokenInbox> inbox_;
  const int choice_;
};

TokenInbox::TokenInbox(std::function<void()> wake, int64_t max_pending_bytes)
    : max_pending_bytes_(max_pending_bytes), wake_(std::move(wake)) {}

std::shared_ptr<TokenSink> TokenInbox::MakeSink(int choice) {
  return std::make_shared<Sink>(shared_from_this(), choice);
}

absl::Status TokenInbox::Drain(std::vector<TokenEvent>* events) {
  events->clear();
  absl::MutexLock lock(&mutex_);
  events->swap(events_);
  pending_bytes_ = 0;
  is_woken_ = false;
  if (overflowed_) {
    return absl::ResourceExhaustedError(
        absl::StrCat("The client takes tokens too slowly: more than ",
                     max_pending_bytes_, " bytes were waiting"));
  }
  return absl::OkStatus();
}

void TokenInbox::Close() {
  absl::MutexLock lock(&mutex_);
  wake_ = nullptr;
}

void TokenInbox::Add(TokenEvent event, int64_t bytes) {
  absl::MutexLock lock(&mutex_);
  if (!wake_) return;
  pending_bytes_ += bytes;
  if (pending_bytes_ > max_pending_bytes_) {
    overflowed_ = true;
  } else {
    events_.push_back(std::move(event));
  }
  // Under the lock, so that Close() can promise that no call is under way.
  if (!std::exchange(is_woken_, true)) wake_();
}

}  // namespace caravan::coordinator
