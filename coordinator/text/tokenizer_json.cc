#include "coordinator/text/tokenizer_json.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/bpe_segment_encoder.h"
#include "coordinator/text/byte_level.h"
#include "coordinator/text/sentencepiece_bytes.h"
#include "coordinator/text/tokenizer_json_steps.h"
#include "nlohmann/json.hpp"
#include "partition/model/strict_json.h"

namespace caravan::coordinator {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 32;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.json: ", what));
}

absl::Status Unread(absl::string_view what) {
  return absl::UnimplementedError(
      absl::StrCat("tokenizer.json: ", what, " is not supported"));
}

const Json& Part(const Json& object, const char* name) {
  static const Json* const null = new Json();
  if (!object.is_object()) return *null;
  const auto found = object.find(name);
  return found == object.end() ? *null : *found;
}

absl::StatusOr<int32_t> TokenId(const Json& id) {
  if (!id.is_number_integer() || id.get<int64_t>() < 0 ||
      id.get<int64_t>() >= kMaxVocabulary) {
    return Malformed(absl::StrCat("a token id ", id.dump(), "; ids end at ",
                                  kMaxVocabulary));
  }
  return id.get<int32_t>();
}

class Reader {
 public:
  explicit Reader(const Json& file) : file_(file) {}

  absl::StatusOr<TokenizerParts> Run() {
    CARAVAN_ASSIGN_OR_RETURN(const BpeNormalizer normalizer,
                             ReadNormalizer(Part(file_, "normalizer")));
    CARAVAN_ASSIGN_OR_RETURN(PreTokenizerPlan plan,
                             ReadPreTokenizer(Part(file_, "pre_tokenizer")));
    byte_level_ = plan.byte_level;
    const bool metaspace = plan.metaspace || normalizer.replaces_spaces;
    if (byte_level_ == metaspace) {
      return Unread("a tokenizer that is neither byte-level nor of U+2581");
    }
    parts_.strips_leading_space =
        metaspace && (plan.prefixes || normalizer.prepends_space);
    CARAVAN_RETURN_IF_ERROR(CheckModel());
    CARAVAN_RETURN_IF_ERROR(ReadVocabulary());
    CARAVAN_RETURN_IF_ERROR(ReadMerges());
    CARAVAN_RETURN_IF_ERROR(ReadAddedTokens());
    CARAVAN_RETURN_IF_ERROR(ReadPostProcessor(Part(file_, "post_processor")));
    for (const AddedToken& token : parts_.added_tokens) {
      if (IsTemplateOnly(token)) model_.control_ids.insert(token.id);
    }
    CARAVAN_ASSIGN_OR_RETURN(BpeModel model,
                             BpeModel::Create(std::move(model_)));
    parts_.encoder = std::make_unique<BpeSegmentEncoder>(
        normalizer, PreTokenizer(std::move(plan.steps)), std::move(model));
    return std::move(parts_);
  }

 private:
  const Json& Model() const { return Part(file_, "model"); }

  absl::Status CheckModel() {
    // Files from before 2021 leave the type out.
    const std::string type = TypeOf(Model());
    if (type != "BPE" && !(type.empty() && Model().contains("merges"))) {
      return Unread(absl::StrCat("model ", type));
    }
    const Json& dropout = Part(Model(), "dropout");
    if (!dropout.is_null() && dropout != 0.0) return Unread("dropout");
    for (const char* name :
         {"continuing_subword_prefix", "end_of_word_suffix"}) {
      CARAVAN_ASSIGN_OR_RETURN(const std::string affix,
                               StringField(Model(), name, ""));
      if (!affix.empty()) return Unread(name);
    }
    CARAVAN_ASSIGN_OR_RETURN(model_.fuse_unknown,
                             BoolField(Model(), "fuse_unk", false));
    CARAVAN_ASSIGN_OR_RETURN(model_.byte_fallback,
                             BoolField(Model(), "byte_fallback", false));
    CARAVAN_ASSIGN_OR_RETURN(model_.ignore_merges,
                             BoolField(Model(), "ignore_merges", false));
    if (byte_level_ && model_.byte_fallback) {
      return Unread("byte_fallback of a byte-level model");
    }
    model_.symbols_are_bytes = byte_level_;
    return absl::OkStatus();
  }

  // What a token adds to a text.
  std::string Bytes(const std::string& spelling) const {
    if (byte_level_) return BytesOfByteLevel(spelling).value_or(spelling);
    return BytesOfSentencePiece(spelling, model_.byte_fallback);
  }

  absl::Status ReadVocabulary() {
    const Json& vocabulary = Part(Model(), "vocab");
    if (!vocabulary.is_object() || vocabulary.empty()) {
      return Malformed("the model has no vocab");
    }
    for (const auto& [spelling, id_field] : vocabulary.items()) {
      CARAVAN_ASSIGN_OR_RETURN(const int32_t id, TokenId(id_field));
      if (static_cast<size_t>(id) >= parts_.token_bytes.size()) {
        parts_.token_bytes.resize(id + 1);
      }
      parts_.token_bytes[id] = Bytes(spelling);
      if (!byte_level_) {
        model_.vocabulary[spelling] = id;
      } else if (const auto bytes = BytesOfByteLevel(spelling)) {
        model_.vocabulary[*bytes] = id;
      }
    }
    CARAVAN_ASSIGN_OR_RETURN(const std::string unknown,
                             StringField(Model(), "unk_token", ""));
    if (vocabulary.contains(unknown)) {
      CARAVAN_ASSIGN_OR_RETURN(model_.unknown_id, TokenId(vocabulary[unknown]));
    }
    return absl::OkStatus();
  }

  absl::Status ReadMerges() {
    const Json& merges = Part(Model(), "merges");
    if (!merges.is_array()) return Malformed("the model has no merges");
    model_.merges.reserve(merges.size());
    for (const Json& merge : merges) {
      std::pair<std::string, std::string> pair;
      if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
          merge[1].is_string()) {
        pair = {merge[0].get<std::string>(), merge[1].get<std::string>()};
      } else if (merge.is_string()) {
        const std::string line = merge.get<std::string>();
        const std::vector<std::string> words = absl::StrSplit(line, ' ');
        if (words.size() != 2) {
          return Malformed(absl::StrCat("merge ", model_.merges.size(),
                                        " is not two words"));
        }
        pair = {words[0], words[1]};
      } else {
        return Malformed(absl::StrCat("merge ", model_.merges.size(),
                                      " is neither a string nor a pair"));
      }
      if (byte_level_) {
        pair.first = BytesOfByteLevel(pair.first).value_or(pair.first);
        pair.second = BytesOfByteLevel(pair.second).value_or(pair.second);
      }
      model_.merges.push_back(std::move(pair));
    }
    return absl::OkStatus();
  }

  absl::Status ReadAddedTokens() {
    const Json& tokens = Part(file_, "added_tokens");
    if (tokens.is_null()) return absl::OkStatus();
    if (!tokens.is_array()) return Malformed("added_tokens is not an array");
    std::vector<AddedToken> all;
    for (const Json& token : tokens) {
      AddedToken& added = all.emplace_back();
      CARAVAN_ASSIGN_OR_RETURN(added.id, TokenId(Part(token, "id")));
      CARAVAN_ASSIGN_OR_RETURN(added.spelling,
                               StringField(token, "content", ""));
      CARAVAN_ASSIGN_OR_RETURN(added.control,
                               BoolField(token, "special", false));
      CARAVAN_ASSIGN_OR_RETURN(added.strips_left,
                               BoolField(token, "lstrip", false));
      CARAVAN_ASSIGN_OR_RETURN(added.strips_right,
                               BoolField(token, "rstrip", false));
      CARAVAN_ASSIGN_OR_RETURN(const bool single_word,
                               BoolField(token, "single_word", false));
      if (single_word) return Unread("an added token with single_word");
    }
    return AddTokens(all, &parts_);
  }

  absl::Status ReadPostProcessor(const Json& processor) {
    const std::string type = TypeOf(processor);
    if (processor.is_null() || type == "ByteLevel") return absl::OkStatus();
    if (type == "TemplateProcessing") return ReadTemplate(processor);
    if (type != "Sequence" || !Part(processor, "processors").is_array()) {
      return Unread(absl::StrCat("post-processor ", type));
    }
    for (const Json& each : Part(processor, "processors")) {
      if (TypeOf(each) == "Sequence") return Unread("nested post-processors");
      CARAVAN_RETURN_IF_ERROR(ReadPostProcessor(each));
    }
    return absl::OkStatus();
  }

  absl::Status ReadTemplate(const Json& processor) {
    for (const Json& item : Part(processor, "single")) {
      if (!Part(item, "Sequence").is_null()) return absl::OkStatus();
      CARAVAN_ASSIGN_OR_RETURN(
          const std::string name,
          StringField(Part(item, "SpecialToken"), "id", ""));
      const Json& token = Part(Part(processor, "special_tokens"), name.c_str());
      const Json& ids = Part(token, "ids");
      if (!ids.is_array() || ids.size() != 1) {
        return Malformed("the post-processor's token has not one id");
      }
      if (parts_.adds_bos) return Unread("more than one token before a text");
      CARAVAN_ASSIGN_OR_RETURN(parts_.bos_token, TokenId(ids[0]));
      if (static_cast<size_t>(parts_.bos_token) >= parts_.token_bytes.size()) {
        return Malformed(absl::StrCat("the post-processor's token ",
                                      parts_.bos_token,
                                      " is not in the vocabulary"));
      }
      parts_.adds_bos = true;
    }
    return absl::OkStatus();
  }

  const Json& file_;
  bool byte_level_ = false;
  BpeModel::Options model_;
  TokenizerParts parts_;
};

}  // namespace

absl::StatusOr<TokenizerParts> ReadTokenizerJson(absl::string_view text) {
  CARAVAN_ASSIGN_OR_RETURN(const Json file,
                           partition::ParseStrictJson(text, kMaxDepth));
  return Reader(file).Run();
}

}  // namespace caravan::coordinator
