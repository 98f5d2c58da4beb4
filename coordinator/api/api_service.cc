#include "coordinator/api/api_service.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "base/version.h"
#include "coordinator/api/head_check.h"
#include "coordinator/api/json_input.h"
#include "coordinator/api/json_output.h"
#include "coordinator/api/random_id.h"
#include "coordinator/api/text_endpoints.h"

namespace caravan::coordinator {
namespace {

using nlohmann::ordered_json;

ordered_json ModelJson(const std::string& name, const ServedModel& model,
                       int64_t created) {
  return {{"id", name},
          {"object", "model"},
          {"created", created},
          {"owned_by", "caravan"},
          {"root", model.path.empty() ? name : model.path},
          {"parent", nullptr},
          {"max_model_len", model.max_model_len ? model.max_model_len() : 0}};
}

absl::Status DrainingError() {
  return absl::UnavailableError("The server is shutting down.");
}

}  // namespace

ApiService::ApiService(Options options)
    : model_(std::move(options.model)),
      authorization_(options.api_keys),
      scheduler_(options.scheduler),
      status_(std::move(options.status)),
      limits_(options.limits),
      clock_(*options.clock),
      created_(absl::ToUnixSeconds(options.clock->Now())),
      body_budget_(options.limits.max_all_bodies_bytes) {}

ApiService::HeadVerdict ApiService::CheckHead(const RequestHead& head) const {
  if (auto refusal = CheckFraming(head, limits_)) {
    return {.response = *std::move(refusal)};
  }
  const absl::string_view path = PathOf(head.target);
  const Route* route = FindRoute(path);
  if (route == nullptr || !route->is_public) {
    // Also for paths that do not exist: nothing is told without a key.
    const absl::Status allowed = authorization_.Check(head.authorization);
    if (!allowed.ok()) return {.response = ErrorResponse(ToApiError(allowed))};
  }
  if (route == nullptr) {
    return {.response = ErrorResponse(HttpError(404, "There is no such path"))};
  }
  if (auto answer = CheckMethod(head, *route)) {
    return {.response = *std::move(answer)};
  }
  return {.route = route};
}

HttpResponse ApiService::Answer(const RequestHead& head, const Route& route,
                                const std::string& body) const {
  switch (route.endpoint) {
    case Endpoint::kModels:
      return Models();
    case Endpoint::kModel:
      return Model(PathOf(head.target).substr(route.path.size()));
    case Endpoint::kHealth:
      return Health();
    case Endpoint::kVersion:
      return JsonResponse(
          ToText(ordered_json{{"version", std::string(BuildId())}}));
    case Endpoint::kStatus:
      return JsonResponse(status_ ? status_() : "{}");
    case Endpoint::kTokenize:
    case Endpoint::kDetokenize: {
      absl::StatusOr<std::string> answer = AnswerText(route.endpoint, body);
      if (!answer.ok()) {
        return ErrorResponse(Report(answer.status(), head.request_id));
      }
      return JsonResponse(*std::move(answer));
    }
    case Endpoint::kCompletions:
    case Endpoint::kChatCompletions:
      break;
  }
  return ErrorResponse(HttpError(500, "Not an endpoint of one answer"));
}

absl::StatusOr<PreparedGeneration> ApiService::Prepare(
    const Route& route, const std::string& body) const {
  if (is_draining_) return DrainingError();
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json document,
                           ParseJsonObject(body, limits_));
  if (route.endpoint == Endpoint::kChatCompletions) {
    CARAVAN_ASSIGN_OR_RETURN(ChatRequest request,
                             ParseChatRequest(document, limits_));
    return PrepareChat(std::move(request), model_);
  }
  CARAVAN_ASSIGN_OR_RETURN(CompletionRequest request,
                           ParseCompletionRequest(document, limits_));
  return PrepareCompletion(std::move(request), model_);
}

absl::StatusOr<std::unique_ptr<GenerationSession>> ApiService::StartGeneration(
    PreparedGeneration generation, const std::string& request_id,
    std::function<void()> wake) const {
  if (is_draining_) return DrainingError();
  const char* const kind = generation.is_chat ? "chatcmpl-" : "cmpl-";
  GenerationSession::Options options;
  options.scheduler = scheduler_;
  options.model = &model_;
  options.id = absl::StrCat(kind, request_id);
  options.seed = RandomSeed();
  options.max_pending_bytes = limits_.max_pending_bytes;
  options.wake = std::move(wake);
  return GenerationSession::Start(options, std::move(generation));
}

std::unique_ptr<ResponseWriter> ApiService::MakeWriter(
    const GenerationSession& session, const std::string& request_id) const {
  const PreparedGeneration& generation = session.generation();
  ResponseIdentity identity;
  identity.created = absl::ToUnixSeconds(clock_.Now());
  identity.model = generation.parameters.model.empty()
                       ? model_.names[0]
                       : generation.parameters.model;
  if (generation.is_chat) {
    identity.id = absl::StrCat("chatcmpl-", request_id);
    return MakeChatWriter(std::move(identity), generation);
  }
  identity.id = absl::StrCat("cmpl-", request_id);
  return MakeCompletionWriter(std::move(identity), generation);
}

ApiError ApiService::Report(const absl::Status& status,
                            const std::string& request_id) const {
  ApiError error = ToApiError(status);
  if (error.http_status >= 500) {
    LogWarning(absl::StrCat("request ", request_id, ": ", status.ToString()));
  }
  return error;
}

HttpResponse ApiService::Models() const {
  ordered_json list = {{"object", "list"}, {"data", ordered_json::array()}};
  for (const std::string& name : model_.names) {
    list["data"].push_back(ModelJson(name, model_, created_));
  }
  return JsonResponse(ToText(list));
}

HttpResponse ApiService::Model(absl::string_view name) const {
  const absl::Status known = model_.CheckName(name);
  if (!known.ok()) return ErrorResponse(ToApiError(known));
  return JsonResponse(ToText(ModelJson(std::string(name), model_, created_)));
}

HttpResponse ApiService::Health() const {
  if (is_draining_) {
    return ErrorResponse(ToApiError(DrainingError()));
  }
  if (!scheduler_->Stats().ready) {
    return ErrorResponse(HttpError(503, "No engines are ready."));
  }
  return JsonResponse(R"({"status":"ok"})");
}

absl::StatusOr<std::string> ApiService::AnswerText(
    Endpoint endpoint, const std::string& body) const {
  CARAVAN_ASSIGN_OR_RETURN(const nlohmann::json document,
                           ParseJsonObject(body, limits_));
  return endpoint == Endpoint::kTokenize
             ? Tokenize(document, model_, limits_)
             : Detokenize(document, model_, limits_);
}

}  // namespace caravan::coordinator
