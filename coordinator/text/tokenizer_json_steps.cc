#include "coordinator/text/tokenizer_json_steps.h"

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/segment_encoder.h"
#include "nlohmann/json.hpp"

namespace caravan::coordinator {
namespace {

using Json = nlohmann::json;

absl::Status Unread(absl::string_view kind, absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: ", kind, " ", what, " is not supported"));
}

// nullptr: absent or null.
const Json* Field(const Json& part, const char* name) {
  if (!part.is_object()) return nullptr;
  const auto found = part.find(name);
  return found == part.end() || found->is_null() ? nullptr : &*found;
}

absl::Status AddNormalizer(const Json& part, BpeNormalizer* normalizer) {
  const std::string type = TypeOf(part);
  if (type == "Sequence") {
    const Json* list = Field(part, "normalizers");
    if (list == nullptr || !list->is_array()) {
      return absl::InvalidArgumentError(
          "tokenizer.json: a Sequence without normalizers");
    }
    for (const Json& each : *list) {
      if (TypeOf(each) == "Sequence") return Unread("normalizer", "nesting");
      CARAVAN_RETURN_IF_ERROR(AddNormalizer(each, normalizer));
    }
    return absl::OkStatus();
  }
  if (type == "Prepend") {
    CARAVAN_ASSIGN_OR_RETURN(const std::string text,
                             StringField(part, "prepend", ""));
    if (text != kMetaspace || normalizer->prepends_space) {
      return Unread("normalizer Prepend of", text);
    }
    normalizer->prepends_space = true;
    return absl::OkStatus();
  }
  if (type == "Replace") {
    CARAVAN_ASSIGN_OR_RETURN(const std::string content,
                             StringField(part, "content", ""));
    const Json* pattern = Field(part, "pattern");
    const Json* from = pattern == nullptr ? nullptr : Field(*pattern, "String");
    if (from == nullptr || *from != " " || content != kMetaspace) {
      return Unread("normalizer Replace by", content);
    }
    normalizer->replaces_spaces = true;
    return absl::OkStatus();
  }
  return Unread("normalizer", type);
}

absl::Status AddPattern(absl::string_view pattern, bool drops_rest,
                        PreTokenizerPlan* plan) {
  CARAVAN_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
  plan->steps.emplace_back(std::in_place_type<SplitByPattern>, std::move(regex),
                           drops_rest);
  return absl::OkStatus();
}

absl::Status AddByteLevel(const Json& part, PreTokenizerPlan* plan) {
  if (plan->byte_level) return Unread("pre-tokenizer", "ByteLevel twice");
  plan->byte_level = true;
  CARAVAN_ASSIGN_OR_RETURN(const bool adds_space,
                           BoolField(part, "add_prefix_space", true));
  if (adds_space) plan->steps.emplace_back(std::in_place_type<AddSpace>);
  CARAVAN_ASSIGN_OR_RETURN(const bool uses_pattern,
                           BoolField(part, "use_regex", true));
  if (!uses_pattern) return absl::OkStatus();
  return AddPattern(kGpt2Pattern, /*drops_rest=*/false, plan);
}

// Escapes what would be more than a character.
std::string LiteralPattern(absl::string_view text) {
  std::string pattern;
  for (const char c : text) {
    if (absl::string_view("\\^$.|?*+()[]{}-/").find(c) !=
        absl::string_view::npos) {
      pattern.push_back('\\');
    }
    pattern.push_back(c);
  }
  return pattern;
}

absl::Status AddSplit(const Json& part, PreTokenizerPlan* plan) {
  CARAVAN_ASSIGN_OR_RETURN(const std::string behavior,
                           StringField(part, "behavior", ""));
  CARAVAN_ASSIGN_OR_RETURN(const bool inverted,
                           BoolField(part, "invert", false));
  const Json* pattern = Field(part, "pattern");
  const Json* regex = pattern == nullptr ? nullptr : Field(*pattern, "Regex");
  const Json* literal =
      pattern == nullptr ? nullptr : Field(*pattern, "String");
  std::string text;
  if (regex != nullptr && regex->is_string()) {
    text = regex->get<std::string>();
  } else if (literal != nullptr && literal->is_string()) {
    text = LiteralPattern(literal->get<std::string>());
  } else {
    return absl::InvalidArgumentError("tokenizer.json: Split has no pattern");
  }
  // Isolated keeps matches and rest, whichever way around they are.
  if (behavior == "Isolated") {
    return AddPattern(text, /*drops_rest=*/false, plan);
  }
  if (behavior == "Removed" && inverted) {
    return AddPattern(text, /*drops_rest=*/true, plan);
  }
  return Unread("pre-tokenizer Split with behavior", behavior);
}

absl::Status AddMetaspace(const Json& part, PreTokenizerPlan* plan) {
  if (plan->metaspace) return Unread("pre-tokenizer", "Metaspace twice");
  plan->metaspace = true;
  CARAVAN_ASSIGN_OR_RETURN(const std::string replacement,
                           StringField(part, "replacement", ""));
  if (replacement != kMetaspace) {
    return Unread("pre-tokenizer Metaspace by", replacement);
  }
  // Files from before prepend_scheme say add_prefix_space.
  CARAVAN_ASSIGN_OR_RETURN(const bool adds_space,
                           BoolField(part, "add_prefix_space", true));
  CARAVAN_ASSIGN_OR_RETURN(
      const std::string scheme,
      StringField(part, "prepend_scheme", adds_space ? "always" : "never"));
  DummyPrefix prefix = DummyPrefix::kAlways;
  if (scheme == "first") {
    prefix = DummyPrefix::kFirst;
  } else if (scheme == "never") {
    prefix = DummyPrefix::kNever;
  } else if (scheme != "always") {
    return Unread("pre-tokenizer Metaspace with prepend_scheme", scheme);
  }
  CARAVAN_ASSIGN_OR_RETURN(const bool splits, BoolField(part, "split", true));
  plan->prefixes = prefix != DummyPrefix::kNever;
  plan->steps.emplace_back(std::in_place_type<Metaspace>, prefix, splits);
  return absl::OkStatus();
}

absl::Status AddPreTokenizer(const Json& part, PreTokenizerPlan* plan) {
  const std::string type = TypeOf(part);
  if (type == "Sequence") {
    const Json* list = Field(part, "pretokenizers");
    if (list == nullptr || !list->is_array()) {
      return absl::InvalidArgumentError(
          "tokenizer.json: a Sequence without pretokenizers");
    }
    for (const Json& each : *list) {
      if (TypeOf(each) == "Sequence") return Unread("pre-tokenizer", "nesting");
      CARAVAN_RETURN_IF_ERROR(AddPreTokenizer(each, plan));
    }
    return absl::OkStatus();
  }
  // It turns words into its alphabet; what comes after would see that.
  if (plan->byte_level) return Unread("pre-tokenizer after ByteLevel:", type);
  if (type == "ByteLevel") return AddByteLevel(part, plan);
  if (type == "Split") return AddSplit(part, plan);
  if (type == "Metaspace") return AddMetaspace(part, plan);
  if (type == "Digits") {
    CARAVAN_ASSIGN_OR_RETURN(const bool individual,
                             BoolField(part, "individual_digits", false));
    return AddPattern(individual ? kOneDigitPattern : kDigitsPattern,
                      /*drops_rest=*/false, plan);
  }
  return Unread("pre-tokenizer", type);
}

}  // namespace

std::string TypeOf(const Json& part) {
  const Json* type = Field(part, "type");
  if (type == nullptr || !type->is_string()) return "";
  return type->get<std::string>();
}

absl::StatusOr<bool> BoolField(const Json& part, const char* name,
                               bool otherwise) {
  const Json* field = Field(part, name);
  if (field == nullptr) return otherwise;
  if (!field->is_boolean()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: ", name, " is not true or false"));
  }
  return field->get<bool>();
}

absl::StatusOr<std::string> StringField(const Json& part, const char* name,
                                        absl::string_view otherwise) {
  const Json* field = Field(part, name);
  if (field == nullptr) return std::string(otherwise);
  if (!field->is_string()) {
    return absl::InvalidArgumentError(
        absl::StrCat("tokenizer.json: ", name, " is not a string"));
  }
  return field->get<std::string>();
}

absl::StatusOr<BpeNormalizer> ReadNormalizer(const Json& normalizer) {
  BpeNormalizer result;
  if (normalizer.is_null()) return result;
  CARAVAN_RETURN_IF_ERROR(AddNormalizer(normalizer, &result));
  return result;
}

absl::StatusOr<PreTokenizerPlan> ReadPreTokenizer(const Json& pre_tokenizer) {
  PreTokenizerPlan plan;
  if (pre_tokenizer.is_null()) return plan;
  CARAVAN_RETURN_IF_ERROR(AddPreTokenizer(pre_tokenizer, &plan));
  if (plan.byte_level && plan.metaspace) {
    return Unread("pre-tokenizer", "Metaspace with ByteLevel");
  }
  return plan;
}

}  // namespace caravan::coordinator
