// One choice of an answer: tokens in, text out.
#ifndef CARAVAN_COORDINATOR_API_CHOICE_STREAM_H_
#define CARAVAN_COORDINATOR_API_CHOICE_STREAM_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "coordinator/api/prepared_generation.h"
#include "coordinator/api/served_model.h"
#include "coordinator/schedule/generation_request.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/stop_matcher.h"

namespace caravan::coordinator {

// A token with its log-probability, as shown to clients.
struct ScoredToken {
  struct Candidate {
    std::string bytes;  // maybe only a part of a character
    float logprob = 0;
  };
  std::string bytes;
  std::optional<float> logprob;  // nullopt: a prompt's first token has none
  int64_t text_offset = 0;       // characters before it
  std::vector<Candidate> top;    // the likeliest, and the token itself
};

// Why a choice ended.
struct ChoiceEnd {
  bool by_length = false;             // else by a stop token or string
  std::optional<int32_t> stop_token;  // of the client's stop_token_ids
  std::string stop_string;            // empty: not by one
};

// What became known of a choice since the last look.
struct ChoiceDelta {
  int index = 0;
  bool is_first = false;  // nothing of this choice was taken before
  std::string text;
  std::vector<int32_t> token_ids;
  std::vector<ScoredToken> scores;
  std::optional<ChoiceEnd> end;
  int64_t completion_tokens = 0;  // so far

  // Whether a client would see anything of it.
  bool has_content() const {
    return !text.empty() || !token_ids.empty() || !scores.empty() ||
           end.has_value();
  }
  // Adds a later delta of the same choice.
  void Append(ChoiceDelta later);
};

// One thread. Of a stop string, and of what follows it, no text is shown; the
// token that completes it still counts, as in vLLM. A stop token counts and is
// not shown either.
class ChoiceStream final {
 public:
  // Both outlive this.
  ChoiceStream(int index, const PreparedGeneration& generation,
               const ServedModel& model);

  // Log-probabilities of the prompt's tokens but the first.
  void AddPromptScores(absl::Span<const TokenLogprob> scores);
  void AddToken(const GeneratedToken& token);
  // After the last token. `by_length`: the limit, not a stop token, ended it.
  void Finish(bool by_length);

  // True after a stop string or Finish: further tokens are ignored.
  bool ended() const { return ended_; }
  // Whether Take() would give anything.
  bool has_delta() const { return has_news_; }
  ChoiceDelta Take();

  int64_t completion_tokens() const { return completion_tokens_; }

 private:
  void AddText(const std::string& text);
  void End(ChoiceEnd end);
  ScoredToken Score(int32_t id, const TokenLogprob* logprob);
  std::string TokenText(int32_t id) const;
  bool IsStopToken(int32_t id) const;

  const int index_;
  const PreparedGeneration& generation_;
  const ServedModel& model_;
  std::optional<Detokenizer> detokenizer_;  // none without tokenizer
  StopMatcher stop_matcher_;
  ChoiceDelta delta_;
  bool is_first_ = true;
  bool has_news_ = false;
  bool ended_ = false;
  int64_t completion_tokens_ = 0;
  int64_t text_offset_ = 0;
  int32_t last_token_ = -1;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_API_CHOICE_STREAM_H_
