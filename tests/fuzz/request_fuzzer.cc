// A request's body from nowhere: it is refused in words, or what it asks for is
// within bounds. The first byte says to which endpoint it goes.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "coordinator/api/chat_request.h"
#include "coordinator/api/completion_request.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/json_input.h"
#include "coordinator/api/prepared_generation.h"
#include "coordinator/api/text_endpoints.h"
#include "coordinator/text/utf8.h"
#include "tests/support/byte_tokenizer.h"

namespace caravan::coordinator {
namespace {

constexpr int64_t kMaxModelLen = 512;

ServedModel MakeModel() {
  static const auto* tokenizer = new caravan::testing::ByteTokenizer();
  static const ChatTemplate* chat_template =
      MakeChatTemplate("chatml")->release();
  ServedModel model;
  model.names = {"m"};
  model.tokenizer = tokenizer;
  model.chat_template = chat_template;
  model.vocab_size = tokenizer->vocab_size();
  model.eos_tokens = {caravan::testing::ByteTokenizer::kEos};
  model.max_model_len = [] { return kMaxModelLen; };
  model.longest_token_bytes = LongestTokenBytes(*tokenizer);
  return model;
}

void CheckJson(const std::string& text) {
  CARAVAN_CHECK(CheckUtf8(text).ok());
  CARAVAN_CHECK(nlohmann::json::accept(text));
}

void CheckGeneration(const PreparedGeneration& generation,
                     const ServedModel& model, const ApiLimits& limits) {
  const GenerationParameters& parameters = generation.parameters;
  CARAVAN_CHECK(parameters.num_choices >= 1 &&
                parameters.num_choices <= limits.max_choices);
  CARAVAN_CHECK(parameters.temperature >= 0 && parameters.temperature <= 2);
  CARAVAN_CHECK(parameters.top_p > 0 && parameters.top_p <= 1);
  CARAVAN_CHECK(parameters.min_p >= 0 && parameters.min_p <= 1);
  CARAVAN_CHECK(parameters.top_k >= 0);
  CARAVAN_CHECK(parameters.logprobs >= -1 &&
                parameters.logprobs <= limits.max_logprobs);
  CARAVAN_CHECK(!generation.prompts.empty());
  for (const PreparedPrompt& prompt : generation.prompts) {
    CARAVAN_CHECK(!prompt.ids.empty() && prompt.max_tokens >= 0);
    CARAVAN_CHECK(static_cast<int64_t>(prompt.ids.size()) + prompt.max_tokens <=
                  kMaxModelLen);
    CARAVAN_CHECK(CheckIds("prompt", prompt.ids, model.vocab_size).ok());
  }
}

absl::Status Serve(uint8_t endpoint, absl::string_view text) {
  static const ServedModel& model = *new ServedModel(MakeModel());
  const ApiLimits limits;
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json body,
                           ParseJsonObject(text, limits));
  if (endpoint == 'c') {
    CARAVAN_ASSIGN_OR_RETURN(CompletionRequest request,
                             ParseCompletionRequest(body, limits));
    CARAVAN_ASSIGN_OR_RETURN(const PreparedGeneration generation,
                             PrepareCompletion(std::move(request), model));
    CheckGeneration(generation, model, limits);
  } else if (endpoint == 'm') {
    CARAVAN_ASSIGN_OR_RETURN(ChatRequest request,
                             ParseChatRequest(body, limits));
    CARAVAN_ASSIGN_OR_RETURN(const PreparedGeneration generation,
                             PrepareChat(std::move(request), model));
    CheckGeneration(generation, model, limits);
  } else {
    CARAVAN_ASSIGN_OR_RETURN(const std::string answer,
                             endpoint == 't' ? Tokenize(body, model, limits)
                                             : Detokenize(body, model, limits));
    CheckJson(answer);
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace caravan::coordinator

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace coordinator = caravan::coordinator;
  if (size == 0) return 0;
  const absl::Status status = coordinator::Serve(
      data[0],
      absl::string_view(reinterpret_cast<const char*>(data + 1), size - 1));
  if (status.ok()) return 0;
  const coordinator::ApiError error = coordinator::ToApiError(status);
  CARAVAN_CHECK(error.http_status >= 400 && error.http_status < 500);
  coordinator::CheckJson(coordinator::ErrorJson(error));
  return 0;
}
