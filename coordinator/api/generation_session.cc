#include "coordinator/api/generation_session.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::coordinator {
namespace {

bool OnlyScoresPrompt(const PreparedPrompt& prompt) {
  return prompt.max_tokens == 0;
}

GenerationRequest MakeRequest(const PreparedGeneration& generation,
                              const ServedModel& model, int choice,
                              uint64_t seed) {
  const GenerationParameters& parameters = generation.parameters;
  const PreparedPrompt& prompt = generation.prompt_of(choice);
  GenerationRequest request;
  request.prompt = prompt.ids;
  request.max_tokens = prompt.max_tokens;
  request.sampling.temperature = parameters.temperature;
  request.sampling.top_k = parameters.top_k;
  request.sampling.top_p = parameters.top_p;
  request.sampling.min_p = parameters.min_p;
  request.sampling.seed = seed + choice % parameters.num_choices;
  request.sampling.logprobs = parameters.logprobs;
  if (generation.echo) request.sampling.prompt_logprobs = parameters.logprobs;
  request.stop_tokens = parameters.stop_token_ids;
  if (!parameters.ignore_eos) {
    request.stop_tokens.insert(request.stop_tokens.end(),
                               model.eos_tokens.begin(),
                               model.eos_tokens.end());
  }
  return request;
}

}  // namespace

GenerationSession::GenerationSession(const Options& options,
                                     PreparedGeneration generation)
    : scheduler_(options.scheduler),
      model_(*options.model),
      generation_(std::move(generation)),
      inbox_(std::make_shared<TokenInbox>(options.wake,
                                          options.max_pending_bytes)) {
  for (int i = 0; i < generation_.num_choices(); ++i) {
    choices_.push_back(
        {.stream = std::make_unique<ChoiceStream>(i, generation_, model_)});
  }
}

absl::StatusOr<std::unique_ptr<GenerationSession>> GenerationSession::Start(
    const Options& options, PreparedGeneration generation) {
  std::unique_ptr<GenerationSession> session(
      new GenerationSession(options, std::move(generation)));
  CARAVAN_RETURN_IF_ERROR(session->Submit(options));
  return session;
}

absl::Status GenerationSession::Submit(const Options& options) {
  const GenerationParameters& parameters = generation_.parameters;
  const uint64_t seed = parameters.seed.has_value()
                            ? static_cast<uint64_t>(*parameters.seed)
                            : options.seed;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const int index = static_cast<int>(i);
    Choice& choice = choices_[i];
    if (OnlyScoresPrompt(generation_.prompt_of(index)) &&
        parameters.logprobs < 0) {
      choice.stream->Finish(/*by_length=*/true);
      continue;
    }
    GenerationRequest request = MakeRequest(generation_, model_, index, seed);
    request.id = absl::StrCat(options.id, "-", i);
    CARAVAN_ASSIGN_OR_RETURN(
        choice.request,
        scheduler_->Submit(std::move(request), inbox_->MakeSink(index)));
    choice.is_running = true;
    ++num_running_;
  }
  return absl::OkStatus();
}

GenerationSession::~GenerationSession() {
  inbox_->Close();
  for (Choice& choice : choices_) Stop(&choice);
}

absl::StatusOr<std::vector<ChoiceDelta>> GenerationSession::Advance() {
  std::vector<TokenEvent> events;
  CARAVAN_RETURN_IF_ERROR(inbox_->Drain(&events));
  for (TokenEvent& event : events) {
    CARAVAN_RETURN_IF_ERROR(Handle(std::move(event)));
  }
  std::vector<ChoiceDelta> deltas;
  for (Choice& choice : choices_) {
    if (choice.stream->has_delta()) deltas.push_back(choice.stream->Take());
  }
  return deltas;
}

Usage GenerationSession::usage() const {
  Usage usage;
  for (const PreparedPrompt& prompt : generation_.prompts) {
    usage.prompt_tokens += static_cast<int64_t>(prompt.ids.size());
  }
  for (const Choice& choice : choices_) {
    usage.completion_tokens += choice.stream->completion_tokens();
  }
  return usage;
}

absl::Status GenerationSession::Handle(TokenEvent event) {
  Choice& choice = choices_[event.choice];
  if (!choice.is_running) return absl::OkStatus();
  const bool only_scores =
      OnlyScoresPrompt(generation_.prompt_of(event.choice));
  if (event.prompt_scores.has_value()) {
    choice.stream->AddPromptScores(*event.prompt_scores);
    if (only_scores) {
      choice.stream->Finish(/*by_length=*/true);
      Stop(&choice);
    }
  } else if (event.token.has_value() && !only_scores) {
    choice.stream->AddToken(*event.token);
    if (choice.stream->ended()) Stop(&choice);
  } else if (event.end.has_value()) {
    choice.is_running = false;
    --num_running_;
    if (event.end->reason == FinishReason::kError) return event.end->status;
    choice.stream->Finish(event.end->reason == FinishReason::kLength);
  }
  return absl::OkStatus();
}

void GenerationSession::Stop(Choice* choice) {
  if (!choice->is_running) return;
  choice->is_running = false;
  --num_running_;
  scheduler_->Cancel(choice->request);
}

}  // namespace caravan::coordinator
