#include "coordinator/text/tokenizer_config.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/composed_tokenizer.h"
#include "nlohmann/json.hpp"
#include "partition/model/file.h"
#include "partition/model/strict_json.h"

namespace caravan::coordinator {
namespace {

using Json = nlohmann::json;

constexpr int64_t kMaxBytes = 16 << 20;
constexpr int kMaxDepth = 16;
// Checkpoints have up to some thousands.
constexpr size_t kMaxAddedTokens = 1 << 14;

// An empty object when there is no such file.
absl::StatusOr<Json> ReadObject(absl::string_view folder,
                                absl::string_view name) {
  const std::string path = absl::StrCat(folder, "/", name);
  absl::StatusOr<std::string> text = partition::ReadWholeFile(path, kMaxBytes);
  if (absl::IsNotFound(text.status())) return Json::object();
  CARAVAN_RETURN_IF_ERROR(text.status());
  absl::StatusOr<Json> json = partition::ParseStrictJson(*text, kMaxDepth);
  if (!json.ok()) return Annotate(json.status(), path);
  return json;
}

absl::Status WrongType(absl::string_view field, absl::string_view kind) {
  return absl::InvalidArgumentError(
      absl::StrCat("tokenizer_config.json: ", field, " is not ", kind));
}

absl::StatusOr<std::optional<bool>> ReadBool(const Json& object,
                                             const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return std::nullopt;
  if (!found->is_boolean()) return WrongType(name, "true or false");
  return found->get<bool>();
}

// A token is a string, or an object with the string as "content". Anything
// else, such as a list, spells nothing.
std::string Spelling(const Json& token) {
  if (token.is_string()) return token.get<std::string>();
  if (!token.is_object()) return "";
  const auto content = token.find("content");
  if (content == token.end() || !content->is_string()) return "";
  return content->get<std::string>();
}

std::string SpellingOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? "" : Spelling(*found);
}

// All that *_token fields and additional_special_tokens spell.
void CollectSpecial(const Json& object, std::set<std::string>* special) {
  for (const char* name : {"bos_token", "eos_token", "unk_token", "pad_token",
                           "sep_token", "cls_token", "mask_token"}) {
    special->insert(SpellingOf(object, name));
  }
  const auto more = object.find("additional_special_tokens");
  if (more == object.end() || !more->is_array()) return;
  for (const Json& token : *more) special->insert(Spelling(token));
}

bool Flag(const Json& token, const char* name) {
  const auto found = token.find(name);
  return found != token.end() && found->is_boolean() && found->get<bool>();
}

// {"32000": {"content": "[PAD]", "special": true, ...}, ...}
absl::Status ReadDecoder(const Json& config,
                         std::map<int32_t, AddedToken>* tokens) {
  const auto decoder = config.find("added_tokens_decoder");
  if (decoder == config.end() || decoder->is_null()) return absl::OkStatus();
  if (!decoder->is_object())
    return WrongType("added_tokens_decoder", "an object");
  for (const auto& [key, token] : decoder->items()) {
    AddedToken added;
    if (!absl::SimpleAtoi(key, &added.id) || added.id < 0 ||
        added.id >= kMaxVocabulary || !token.is_object()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "tokenizer_config.json: added_tokens_decoder has the key \"",
          absl::CHexEscape(key), "\""));
    }
    added.spelling = Spelling(token);
    added.control = Flag(token, "special");
    added.strips_left = Flag(token, "lstrip");
    added.strips_right = Flag(token, "rstrip");
    tokens->try_emplace(added.id, std::move(added));
  }
  return absl::OkStatus();
}

// {"[PAD]": 32000}
absl::Status ReadAddedTokens(const Json& file,
                             const std::set<std::string>& special,
                             std::map<int32_t, AddedToken>* tokens) {
  for (const auto& [spelling, id] : file.items()) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
        id.get<int64_t>() >= kMaxVocabulary) {
      return absl::InvalidArgumentError(
          absl::StrCat("added_tokens.json: \"", absl::CHexEscape(spelling),
                       "\" has the id ", id.dump()));
    }
    AddedToken added{.id = id.get<int32_t>(),
                     .spelling = spelling,
                     .control = special.contains(spelling)};
    tokens->try_emplace(added.id, std::move(added));
  }
  return absl::OkStatus();
}

// A string, or a list of named ones of which "default" counts.
std::optional<std::string> ChatTemplateOf(const Json& config) {
  const auto found = config.find("chat_template");
  if (found == config.end()) return std::nullopt;
  if (found->is_string()) return found->get<std::string>();
  if (!found->is_array()) return std::nullopt;
  for (const Json& named : *found) {
    if (!named.is_object() || SpellingOf(named, "name") != "default") continue;
    const std::string text = SpellingOf(named, "template");
    if (!text.empty()) return text;
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(absl::string_view folder) {
  CARAVAN_ASSIGN_OR_RETURN(const Json main,
                           ReadObject(folder, "tokenizer_config.json"));
  CARAVAN_ASSIGN_OR_RETURN(const Json map,
                           ReadObject(folder, "special_tokens_map.json"));
  CARAVAN_ASSIGN_OR_RETURN(const Json added,
                           ReadObject(folder, "added_tokens.json"));
  TokenizerConfig config;
  config.tokenizer_class = SpellingOf(main, "tokenizer_class");
  CARAVAN_ASSIGN_OR_RETURN(config.adds_bos, ReadBool(main, "add_bos_token"));
  CARAVAN_ASSIGN_OR_RETURN(config.legacy, ReadBool(main, "legacy"));
  config.bos = SpellingOf(main, "bos_token");
  if (config.bos.empty()) config.bos = SpellingOf(map, "bos_token");
  config.eos = SpellingOf(main, "eos_token");
  if (config.eos.empty()) config.eos = SpellingOf(map, "eos_token");

  std::map<int32_t, AddedToken> tokens;
  CARAVAN_RETURN_IF_ERROR(ReadDecoder(main, &tokens));
  std::set<std::string> special;
  CollectSpecial(main, &special);
  CollectSpecial(map, &special);
  CARAVAN_RETURN_IF_ERROR(ReadAddedTokens(added, special, &tokens));
  if (tokens.size() > kMaxAddedTokens) {
    return absl::InvalidArgumentError(absl::StrCat(
        tokens.size(), " added tokens; there may be ", kMaxAddedTokens));
  }
  for (auto& [id, token] : tokens) {
    config.added_tokens.push_back(std::move(token));
  }

  config.chat_template = ChatTemplateOf(main);
  absl::StatusOr<std::string> jinja = partition::ReadWholeFile(
      absl::StrCat(folder, "/chat_template.jinja"), kMaxBytes);
  if (jinja.ok()) {
    config.chat_template = *std::move(jinja);
  } else if (!absl::IsNotFound(jinja.status())) {
    return jinja.status();
  }
  return config;
}

}  // namespace caravan::coordinator
