#include "coordinator/api/generation_parameters.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/api/errors.h"
#include "coordinator/api/field_reader.h"
#include "coordinator/api/unsupported_fields.h"

namespace caravan::coordinator {
namespace {

using nlohmann::json;

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();
constexpr int64_t kInt64Min = std::numeric_limits<int64_t>::min();
constexpr int64_t kInt32Max = std::numeric_limits<int32_t>::max();

// Below this a temperature means greedy, as in vLLM: dividing by it would
// overflow.
constexpr double kLeastTemperature = 1e-5;
constexpr double kMostTemperature = 100;

absl::Status ParseChoices(const FieldReader& fields, const ApiLimits& limits,
                          GenerationParameters* parameters) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> n,
                           fields.Integer("n", 1, limits.max_choices));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> best_of,
                           fields.Integer("best_of", 1, limits.max_choices));
  parameters->num_choices = static_cast<int>(n.value_or(1));
  if (best_of.has_value() && *best_of != parameters->num_choices) {
    return fields.Error("best_of",
                        absl::StrCat("must equal n (", parameters->num_choices,
                                     "), got ", *best_of));
  }
  return absl::OkStatus();
}

absl::Status ParseLength(const FieldReader& fields,
                         GenerationParameters* parameters) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> old_name,
                           fields.Integer("max_tokens", 0, kInt64Max));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::optional<int64_t> new_name,
      fields.Integer("max_completion_tokens", 0, kInt64Max));
  parameters->max_tokens = new_name.has_value() ? new_name : old_name;
  return absl::OkStatus();
}

absl::Status ParseSampling(const FieldReader& fields,
                           GenerationParameters* parameters) {
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> temperature,
                           fields.Number("temperature", 0, kMostTemperature));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> top_p,
                           fields.Number("top_p", 0, 1));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<int64_t> top_k,
                           fields.Integer("top_k", -1, kInt32Max));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<double> min_p,
                           fields.Number("min_p", 0, 1));
  CARAVAN_ASSIGN_OR_RETURN(parameters->seed,
                           fields.Integer("seed", kInt64Min, kInt64Max));
  const double heat = temperature.value_or(1);
  parameters->temperature =
      heat < kLeastTemperature ? 0 : static_cast<float>(heat);
  parameters->top_p = static_cast<float>(top_p.value_or(1));
  if (!(parameters->top_p > 0)) {
    return fields.Error("top_p", "must be above 0 and at most 1");
  }
  parameters->top_k =
      static_cast<int32_t>(std::max<int64_t>(top_k.value_or(0), 0));
  parameters->min_p = static_cast<float>(min_p.value_or(0));
  return absl::OkStatus();
}

absl::Status AddStop(const FieldReader& fields, const json& value,
                     const ApiLimits& limits,
                     GenerationParameters* parameters) {
  if (!value.is_string()) {
    return fields.Error("stop", "must be a string or an array of strings");
  }
  const auto& text = value.get_ref<const std::string&>();
  if (text.empty()) {
    return fields.Error("stop", "cannot contain an empty string");
  }
  if (static_cast<int64_t>(text.size()) > limits.max_stop_bytes) {
    return fields.Error(
        "stop", absl::StrCat("strings have at most ", limits.max_stop_bytes,
                             " bytes, got ", text.size()));
  }
  parameters->stop.push_back(text);
  return absl::OkStatus();
}

absl::Status ParseStop(const FieldReader& fields, const ApiLimits& limits,
                       GenerationParameters* parameters) {
  if (const json* stop = fields.Find("stop"); stop != nullptr) {
    if (!stop->is_array()) {
      CARAVAN_RETURN_IF_ERROR(AddStop(fields, *stop, limits, parameters));
    } else if (static_cast<int64_t>(stop->size()) > limits.max_stop_strings) {
      return fields.Error("stop",
                          absl::StrCat("has at most ", limits.max_stop_strings,
                                       " strings, got ", stop->size()));
    } else {
      for (const json& text : *stop) {
        CARAVAN_RETURN_IF_ERROR(AddStop(fields, text, limits, parameters));
      }
    }
  }
  if (const json* ids = fields.Find("stop_token_ids"); ids != nullptr) {
    if (ids->is_array() &&
        static_cast<int64_t>(ids->size()) > limits.max_stop_tokens) {
      return fields.Error("stop_token_ids",
                          absl::StrCat("has at most ", limits.max_stop_tokens,
                                       " ids, got ", ids->size()));
    }
    CARAVAN_ASSIGN_OR_RETURN(parameters->stop_token_ids,
                             ParseTokenIds(*ids, "stop_token_ids"));
  }
  return absl::OkStatus();
}

absl::Status ParseSwitches(const FieldReader& fields,
                           GenerationParameters* parameters) {
  const std::pair<const char*, bool*> switches[] = {
      {"ignore_eos", &parameters->ignore_eos},
      {"include_stop_str_in_output", &parameters->include_stop_text},
      {"skip_special_tokens", &parameters->skip_special_tokens},
      {"return_token_ids", &parameters->return_token_ids},
      {"stream", &parameters->stream},
  };
  for (const auto& [name, place] : switches) {
    CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> value,
                             fields.Boolean(name));
    *place = value.value_or(*place);
  }
  CARAVAN_ASSIGN_OR_RETURN(const json* const options,
                           fields.Object("stream_options"));
  if (options == nullptr) return absl::OkStatus();
  if (!parameters->stream) {
    return fields.Error("stream_options",
                        "can only be given when stream is true");
  }
  const FieldReader stream_fields(*options, "stream_options.");
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> include_usage,
                           stream_fields.Boolean("include_usage"));
  CARAVAN_ASSIGN_OR_RETURN(const std::optional<bool> continuous_usage,
                           stream_fields.Boolean("continuous_usage_stats"));
  parameters->include_usage = include_usage.value_or(false);
  // As in vLLM, the latter only counts with the former.
  parameters->continuous_usage =
      parameters->include_usage && continuous_usage.value_or(false);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const json& value,
                                                   absl::string_view name) {
  if (!value.is_array()) {
    return FieldError(name, absl::StrCat(name,
                                         " must be an array of token "
                                         "ids"));
  }
  std::vector<int32_t> ids;
  ids.reserve(value.size());
  for (const json& element : value) {
    const std::optional<int64_t> id =
        element.is_number() ? AsInteger(element) : std::nullopt;
    if (!id.has_value() || *id < 0 || *id > kInt32Max) {
      return FieldError(
          name, absl::StrCat(name, " must hold token ids only: element ",
                             ids.size(), " is none"));
    }
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

absl::StatusOr<GenerationParameters> ParseGenerationParameters(
    const json& body, const ApiLimits& limits) {
  const FieldReader fields(body);
  GenerationParameters parameters;
  CARAVAN_ASSIGN_OR_RETURN(const std::string* const model,
                           fields.String("model"));
  if (model != nullptr) {
    if (model->empty()) return UnknownModelError(*model);
    parameters.model = *model;
  }
  CARAVAN_RETURN_IF_ERROR(RefuseUnsupportedFields(body));
  CARAVAN_RETURN_IF_ERROR(ParseChoices(fields, limits, &parameters));
  CARAVAN_RETURN_IF_ERROR(ParseLength(fields, &parameters));
  CARAVAN_RETURN_IF_ERROR(ParseSampling(fields, &parameters));
  CARAVAN_RETURN_IF_ERROR(ParseStop(fields, limits, &parameters));
  CARAVAN_RETURN_IF_ERROR(ParseSwitches(fields, &parameters));
  return parameters;
}

}  // namespace caravan::coordinator
