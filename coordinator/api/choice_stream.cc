#include "coordinator/api/choice_stream.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

template <typename T>
void MoveAppend(std::vector<T>* to, std::vector<T> from) {
  to->insert(to->end(), std::make_move_iterator(from.begin()),
             std::make_move_iterator(from.end()));
}

template <typename Container>
bool Contains(const Container& container, int32_t id) {
  return std::find(container.begin(), container.end(), id) != container.end();
}

int64_t CountCharacters(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  });
}

// Whether no text stands before what is generated.
bool IsTextStart(const PreparedPrompt& prompt, const Tokenizer& tokenizer) {
  return std::all_of(prompt.ids.begin(), prompt.ids.end(),
                     [&](int32_t id) { return tokenizer.IsSpecial(id); });
}

}  // namespace

void ChoiceDelta::Append(ChoiceDelta later) {
  text.append(later.text);
  MoveAppend(&token_ids, std::move(later.token_ids));
  MoveAppend(&scores, std::move(later.scores));
  if (later.end.has_value()) end = std::move(later.end);
  completion_tokens = later.completion_tokens;
}

ChoiceStream::ChoiceStream(int index, const PreparedGeneration& generation,
                           const ServedModel& model)
    : index_(index),
      generation_(generation),
      model_(model),
      stop_matcher_(generation.parameters.stop) {
  const PreparedPrompt& prompt = generation_.prompt_of(index_);
  if (model_.tokenizer != nullptr) {
    detokenizer_.emplace(model_.tokenizer,
                         IsTextStart(prompt, *model_.tokenizer));
  }
  if (generation_.echo) {
    delta_.text = prompt.text;
    if (generation_.parameters.logprobs < 0) {
      text_offset_ = CountCharacters(prompt.text);
    }
  }
}

void ChoiceStream::AddPromptScores(absl::Span<const TokenLogprob> scores) {
  if (ended_) return;
  has_news_ = true;
  const std::vector<int32_t>& ids = generation_.prompt_of(index_).ids;
  for (size_t i = 0; i < ids.size(); ++i) {
    const bool has_score = i > 0 && i - 1 < scores.size();
    delta_.scores.push_back(
        Score(ids[i], has_score ? &scores[i - 1] : nullptr));
  }
}

void ChoiceStream::AddToken(const GeneratedToken& token) {
  if (ended_) return;
  has_news_ = true;
  last_token_ = token.id;
  ++completion_tokens_;
  delta_.token_ids.push_back(token.id);
  if (generation_.parameters.logprobs >= 0) {
    delta_.scores.push_back(Score(token.id, &token.logprob));
  }
  if (!detokenizer_.has_value()) return;
  if (IsStopToken(token.id) && !generation_.parameters.include_stop_text) {
    return;
  }
  std::string text = detokenizer_->Append(token.id);
  if (!generation_.parameters.skip_special_tokens &&
      model_.tokenizer->IsSpecial(token.id)) {
    text.append(model_.tokenizer->TokenBytes(token.id));
  }
  AddText(text);
}

void ChoiceStream::Finish(bool by_length) {
  if (ended_) return;
  if (detokenizer_.has_value()) AddText(detokenizer_->Finish());
  if (ended_) return;  // the last bytes completed a stop string
  delta_.text.append(stop_matcher_.Finish());
  ChoiceEnd end{.by_length = by_length};
  const bool is_eos = !generation_.parameters.ignore_eos &&
                      Contains(model_.eos_tokens, last_token_);
  if (!by_length && !is_eos) end.stop_token = last_token_;
  End(std::move(end));
}

ChoiceDelta ChoiceStream::Take() {
  ChoiceDelta delta = std::move(delta_);
  delta_ = ChoiceDelta();
  delta.index = index_;
  delta.is_first = is_first_;
  delta.completion_tokens = completion_tokens_;
  is_first_ = false;
  has_news_ = false;
  return delta;
}

void ChoiceStream::AddText(const std::string& text) {
  if (text.empty()) return;
  StopMatcher::Output output = stop_matcher_.Append(text);
  delta_.text.append(output.text);
  if (!output.stopped) return;
  if (generation_.parameters.include_stop_text) {
    delta_.text.append(output.stop_string);
  }
  End({.stop_string = std::move(output.stop_string)});
}

void ChoiceStream::End(ChoiceEnd end) {
  ended_ = true;
  has_news_ = true;
  delta_.end = std::move(end);
}

ScoredToken ChoiceStream::Score(int32_t id, const TokenLogprob* logprob) {
  ScoredToken token{.bytes = TokenText(id), .text_offset = text_offset_};
  text_offset_ += CountCharacters(ReplaceInvalidUtf8(token.bytes));
  if (logprob == nullptr) return token;
  token.logprob = logprob->logprob;
  const size_t num_top =
      std::min(logprob->top_ids.size(), logprob->top_logprobs.size());
  for (size_t i = 0; i < num_top; ++i) {
    token.top.push_back(
        {TokenText(logprob->top_ids[i]), logprob->top_logprobs[i]});
  }
  if (!Contains(logprob->top_ids, id)) {
    token.top.push_back({token.bytes, logprob->logprob});
  }
  return token;
}

std::string ChoiceStream::TokenText(int32_t id) const {
  // Without a tokenizer, in vLLM's spelling.
  if (model_.tokenizer == nullptr) return absl::StrCat("token_id:", id);
  return model_.tokenizer->TokenBytes(id);
}

bool ChoiceStream::IsStopToken(int32_t id) const {
  const GenerationParameters& parameters = generation_.parameters;
  return Contains(parameters.stop_token_ids, id) ||
         (!parameters.ignore_eos && Contains(model_.eos_tokens, id));
}

}  // namespace caravan::coordinator
