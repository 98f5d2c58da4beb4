#include "tests/coordinator/api/simulated_backend.h"

#include <functional>
#include <thread>
#include <utility>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/simulated_token.h"

namespace caravan::testing {
namespace {

using coordinator::ChatMessage;
using coordinator::ChatPiece;

class BareTemplate final : public coordinator::ChatTemplate {
 public:
  absl::string_view name() const override { return "bare"; }
  absl::StatusOr<std::vector<ChatPiece>> Render(
      absl::Span<const ChatMessage> messages,
      bool add_generation_prompt) const override {
    std::vector<ChatPiece> pieces;
    for (const ChatMessage& message : messages) {
      if (message.content == "unrenderable") {
        return absl::InvalidArgumentError("no place for message 0");
      }
      pieces.push_back({"<|im_start|>", true});
      pieces.push_back({message.content, false});
      pieces.push_back({"<|im_end|>", true});
    }
    if (add_generation_prompt) pieces.push_back({"<|im_start|>", true});
    return pieces;
  }
};

coordinator::SchedulerOptions MakeSchedulerOptions(
    const SimulatedBackendOptions& options) {
  coordinator::SchedulerOptions scheduler;
  scheduler.max_queued_requests = options.max_queued_requests;
  scheduler.max_sequences = options.max_sequences;
  return scheduler;
}

bool IsTrueSoon(const std::function<bool()>& condition) {
  const absl::Time deadline = absl::Now() + absl::Seconds(10);
  while (!condition()) {
    if (absl::Now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

SimulatedBackend::SimulatedBackend(SimulatedBackendOptions options)
    : options_(options),
      chat_template_(std::make_unique<BareTemplate>()),
      scheduler_(MakeSchedulerOptions(options)) {
  if (options_.start) StartEpoch();
}

SimulatedBackend::~SimulatedBackend() {
  if (group_ != nullptr) {
    EndEpoch(absl::UnavailableError("the test is over"));
  }
}

void SimulatedBackend::StartEpoch() {
  coordinator::SimulatedEngineGroupOptions group;
  group.info = {.replica = 1,
                .epoch = ++epoch_,
                .num_stages = 2,
                .num_blocks = options_.num_blocks,
                .max_model_len = options_.max_model_len,
                .max_rows_per_step = 512,
                .max_sequences = options_.max_sequences};
  group.vocabulary_size = ByteTokenizer::kVocabSize;
  group.per_step = options_.per_step;
  group.on_result = [this](const v1::StepResult& result) {
    return scheduler_.OnStepResult(result);
  };
  group.on_end = [](const absl::Status&) {};
  group_ = std::make_unique<coordinator::SimulatedEngineGroup>(group);
  scheduler_.OnEpochStarted(group_.get());
}

void SimulatedBackend::EndEpoch(const absl::Status& cause) {
  scheduler_.OnEpochEnded(cause);
  group_.reset();
}

coordinator::ServedModel SimulatedBackend::model() {
  coordinator::ServedModel model;
  model.names = {"test-model", "other-name"};
  model.path = "/models/test";
  model.tokenizer = &tokenizer_;
  model.chat_template = chat_template_.get();
  model.vocab_size = ByteTokenizer::kVocabSize;
  model.eos_tokens = {ByteTokenizer::kEos};
  model.max_model_len = [length = options_.max_model_len] { return length; };
  return model;
}

bool SimulatedBackend::IsIdleSoon() {
  return IsTrueSoon([this] {
    const coordinator::SchedulerStats stats = scheduler_.Stats();
    return stats.num_waiting == 0 && stats.num_running == 0 &&
           stats.blocks_used == 0 && stats.steps_in_flight == 0 &&
           group_->num_sequences() == 0 && group_->num_blocks_used() == 0;
  });
}

bool SimulatedBackend::HasRunningSoon(int64_t num_running) {
  return IsTrueSoon([this, num_running] {
    return scheduler_.Stats().num_running == num_running;
  });
}

bool SimulatedBackend::HasWaitingSoon(int64_t num_waiting) {
  return IsTrueSoon([this, num_waiting] {
    return scheduler_.Stats().num_waiting == num_waiting;
  });
}

std::vector<int32_t> SimulatedBackend::PromptIds(const std::string& prompt) {
  std::vector<int32_t> ids = {ByteTokenizer::kBos};
  for (char c : prompt) ids.push_back(static_cast<unsigned char>(c));
  return ids;
}

std::vector<int32_t> SimulatedBackend::ExpectedIds(std::vector<int32_t> prompt,
                                                   int num_tokens) {
  std::vector<int32_t> ids;
  for (int i = 0; i < num_tokens; ++i) {
    prompt.push_back(SimulatedToken(prompt.back(),
                                    static_cast<int64_t>(prompt.size()),
                                    ByteTokenizer::kVocabSize));
    ids.push_back(prompt.back());
  }
  return ids;
}

std::string SimulatedBackend::ExpectedText(const std::string& prompt,
                                           int num_tokens) const {
  return coordinator::Decode(tokenizer_,
                             ExpectedIds(PromptIds(prompt), num_tokens));
}

}  // namespace caravan::testing
