#include <nlohmann/json.hpp>
#include <utility>

#include "coordinator/api/json_output.h"
#include "coordinator/api/response_fields.h"
#include "coordinator/api/response_writer.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

using nlohmann::ordered_json;

// OpenAI's older form of log-probabilities: four parallel arrays.
ordered_json LogprobsJson(absl::Span<const ScoredToken> scores) {
  ordered_json offsets = ordered_json::array();
  ordered_json logprobs = ordered_json::array();
  ordered_json tokens = ordered_json::array();
  ordered_json tops = ordered_json::array();
  for (const ScoredToken& score : scores) {
    offsets.push_back(score.text_offset);
    tokens.push_back(ReplaceInvalidUtf8(score.bytes));
    if (!score.logprob.has_value()) {
      logprobs.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    logprobs.push_back(FiniteLogprob(*score.logprob));
    ordered_json top = ordered_json::object();
    for (const ScoredToken::Candidate& candidate : score.top) {
      // Two parts of characters may look alike; the likelier one stays.
      top.emplace(ReplaceInvalidUtf8(candidate.bytes),
                  FiniteLogprob(candidate.logprob));
    }
    tops.push_back(std::move(top));
  }
  return {{"text_offset", std::move(offsets)},
          {"token_logprobs", std::move(logprobs)},
          {"tokens", std::move(tokens)},
          {"top_logprobs", std::move(tops)}};
}

class CompletionWriter final : public ResponseWriter {
 public:
  CompletionWriter(ResponseIdentity identity,
                   const PreparedGeneration& generation)
      : identity_(std::move(identity)), generation_(generation) {}

  std::string Whole(absl::Span<const ChoiceDelta> choices,
                    const Usage& usage) const override {
    ordered_json response = ResponseHead(identity_, "text_completion");
    response["choices"] = ordered_json::array();
    for (const ChoiceDelta& choice : choices) {
      response["choices"].push_back(ChoiceJson(choice));
    }
    response["usage"] = UsageJson(usage);
    return ToText(response);
  }

  std::string Chunk(const ChoiceDelta& delta,
                    const std::optional<Usage>& usage) const override {
    ordered_json response = ResponseHead(identity_, "text_completion");
    response["choices"] = ordered_json::array({ChoiceJson(delta)});
    if (usage.has_value()) {
      response["usage"] = UsageJson(*usage);
    } else if (generation_.parameters.include_usage) {
      response["usage"] = nullptr;
    }
    return ToText(response);
  }

  std::string UsageChunk(const Usage& usage) const override {
    ordered_json response = ResponseHead(identity_, "text_completion");
    response["choices"] = ordered_json::array();
    response["usage"] = UsageJson(usage);
    return ToText(response);
  }

 private:
  ordered_json ChoiceJson(const ChoiceDelta& delta) const {
    ordered_json choice = {{"index", delta.index}, {"text", delta.text}};
    choice["logprobs"] = generation_.parameters.logprobs >= 0
                             ? LogprobsJson(delta.scores)
                             : ordered_json();
    SetEnd(delta.end, &choice);
    if (generation_.parameters.return_token_ids) {
      choice["prompt_token_ids"] =
          delta.is_first ? ordered_json(generation_.prompt_of(delta.index).ids)
                         : ordered_json();
      choice["token_ids"] = delta.token_ids;
    }
    return choice;
  }

  const ResponseIdentity identity_;
  const PreparedGeneration& generation_;
};

}  // namespace

std::unique_ptr<ResponseWriter> MakeCompletionWriter(
    ResponseIdentity identity, const PreparedGeneration& generation) {
  return std::make_unique<CompletionWriter>(std::move(identity), generation);
}

}  // namespace caravan::coordinator
