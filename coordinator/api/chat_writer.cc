#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "coordinator/api/json_output.h"
#include "coordinator/api/response_fields.h"
#include "coordinator/api/response_writer.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

using nlohmann::ordered_json;

ordered_json TokenJson(const std::string& bytes, float logprob) {
  ordered_json values = ordered_json::array();
  for (char c : bytes) values.push_back(static_cast<unsigned char>(c));
  return {{"token", ReplaceInvalidUtf8(bytes)},
          {"logprob", FiniteLogprob(logprob)},
          {"bytes", std::move(values)}};
}

// The chat form of log-probabilities: one object for each token.
ordered_json LogprobsJson(absl::Span<const ScoredToken> scores,
                          size_t num_top) {
  ordered_json content = ordered_json::array();
  for (const ScoredToken& score : scores) {
    ordered_json token = TokenJson(score.bytes, score.logprob.value_or(0));
    token["top_logprobs"] = ordered_json::array();
    for (size_t i = 0; i < std::min(num_top, score.top.size()); ++i) {
      token["top_logprobs"].push_back(
          TokenJson(score.top[i].bytes, score.top[i].logprob));
    }
    content.push_back(std::move(token));
  }
  return {{"content", std::move(content)}};
}

class ChatWriter final : public ResponseWriter {
 public:
  ChatWriter(ResponseIdentity identity, const PreparedGeneration& generation)
      : identity_(std::move(identity)), generation_(generation) {}

  std::string Whole(absl::Span<const ChoiceDelta> choices,
                    const Usage& usage) const override {
    ordered_json response = ResponseHead(identity_, "chat.completion");
    response["choices"] = ordered_json::array();
    for (const ChoiceDelta& delta : choices) {
      ordered_json choice = {
          {"index", delta.index},
          {"message", {{"role", "assistant"}, {"content", delta.text}}}};
      AddDetails(delta, &choice);
      response["choices"].push_back(std::move(choice));
    }
    response["usage"] = UsageJson(usage);
    AddPromptIds(/*wanted=*/true, &response);
    return ToText(response);
  }

  std::string Chunk(const ChoiceDelta& delta,
                    const std::optional<Usage>& usage) const override {
    ordered_json content = ordered_json::object();
    if (delta.is_first) content["role"] = "assistant";
    if (delta.is_first || !delta.text.empty()) content["content"] = delta.text;
    ordered_json choice = {{"index", delta.index},
                           {"delta", std::move(content)}};
    AddDetails(delta, &choice);
    ordered_json response = ResponseHead(identity_, "chat.completion.chunk");
    response["choices"] = ordered_json::array({std::move(choice)});
    if (usage.has_value()) {
      response["usage"] = UsageJson(*usage);
    } else if (generation_.parameters.include_usage) {
      response["usage"] = nullptr;
    }
    AddPromptIds(delta.is_first, &response);
    return ToText(response);
  }

  std::string UsageChunk(const Usage& usage) const override {
    ordered_json response = ResponseHead(identity_, "chat.completion.chunk");
    response["choices"] = ordered_json::array();
    response["usage"] = UsageJson(usage);
    return ToText(response);
  }

 private:
  void AddDetails(const ChoiceDelta& delta, ordered_json* choice) const {
    const GenerationParameters& parameters = generation_.parameters;
    const bool has_scores = parameters.logprobs >= 0 && !delta.scores.empty();
    (*choice)["logprobs"] =
        has_scores ? LogprobsJson(delta.scores,
                                  static_cast<size_t>(parameters.logprobs))
                   : ordered_json();
    SetEnd(delta.end, choice);
    if (parameters.return_token_ids) (*choice)["token_ids"] = delta.token_ids;
  }

  void AddPromptIds(bool wanted, ordered_json* response) const {
    if (!wanted || !generation_.parameters.return_token_ids) return;
    (*response)["prompt_token_ids"] = generation_.prompts[0].ids;
  }

  const ResponseIdentity identity_;
  const PreparedGeneration& generation_;
};

}  // namespace

std::unique_ptr<ResponseWriter> MakeChatWriter(
    ResponseIdentity identity, const PreparedGeneration& generation) {
  return std::make_unique<ChatWriter>(std::move(identity), generation);
}

}  // namespace caravan::coordinator
