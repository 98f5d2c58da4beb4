#include "coordinator/text/gguf_tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/bpe_segment_encoder.h"
#include "coordinator/text/byte_level.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/sentencepiece_model.h"

namespace caravan::coordinator {
namespace {

using partition::GgufFile;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("tokenizer.ggml: ", what));
}

// Absent keys have no error.
absl::StatusOr<bool> BoolOr(const GgufFile& file, absl::string_view key,
                            bool otherwise) {
  if (!file.Has(key)) return otherwise;
  return file.Bool(key);
}

// -1: absent. kInvalidArgument: not in the vocabulary.
absl::StatusOr<int> TokenOrNone(const GgufFile& file, absl::string_view key,
                                size_t vocabulary) {
  if (!file.Has(key)) return -1;
  CARAVAN_ASSIGN_OR_RETURN(const int64_t id, file.Integer(key));
  if (id < 0 || id >= static_cast<int64_t>(vocabulary)) {
    return Malformed(
        absl::StrCat(key, " is ", id, " with a vocabulary of ", vocabulary));
  }
  return static_cast<int>(id);
}

// By id; where the file has none, all are normal.
absl::StatusOr<std::vector<PieceType>> TokenTypes(const GgufFile& file,
                                                  size_t count) {
  constexpr absl::string_view kKey = "tokenizer.ggml.token_type";
  if (!file.Has(kKey)) {
    return std::vector<PieceType>(count, PieceType::kNormal);
  }
  CARAVAN_ASSIGN_OR_RETURN(const absl::Span<const int64_t> numbers,
                           file.Integers(kKey));
  if (numbers.size() != count) {
    return Malformed(
        absl::StrCat(numbers.size(), " token types for ", count, " tokens"));
  }
  std::vector<PieceType> types;
  for (const int64_t number : numbers) {
    if (number < 1 || number > 6) {
      return Malformed(absl::StrCat("a token of type ", number));
    }
    types.push_back(static_cast<PieceType>(number));
  }
  return types;
}

// llama.cpp's names for what checkpoints do before the merges.
absl::StatusOr<PreTokenizer> PreTokenizerByName(absl::string_view name) {
  std::vector<absl::string_view> patterns;
  if (name == "smollm") {
    patterns = {kOneDigitPattern, kGpt2Pattern};
  } else if (name == "llama-bpe") {
    patterns = {kLlama3Pattern};
  } else if (name == "gpt-2") {
    patterns = {kGpt2Pattern};
  } else {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.pre \"", absl::CHexEscape(name),
                     "\" is not supported; smollm, llama-bpe and gpt-2 are"));
  }
  std::vector<PreTokenizerStep> steps;
  for (const absl::string_view pattern : patterns) {
    CARAVAN_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
    steps.emplace_back(std::in_place_type<SplitByPattern>, std::move(regex),
                       /*drops_rest=*/false);
  }
  return PreTokenizer(std::move(steps));
}

absl::Status ReadMerges(const GgufFile& file, BpeModel::Options* options) {
  CARAVAN_ASSIGN_OR_RETURN(const absl::Span<const std::string> merges,
                           file.Strings("tokenizer.ggml.merges"));
  for (size_t i = 0; i < merges.size(); ++i) {
    const size_t space = merges[i].find(' ');
    if (space == std::string::npos) {
      return Malformed(absl::StrCat("merge ", i, " is not two words"));
    }
    const absl::string_view merge = merges[i];
    auto left = BytesOfByteLevel(merge.substr(0, space));
    auto right = BytesOfByteLevel(merge.substr(space + 1));
    if (!left.has_value() || !right.has_value()) {
      return Malformed(absl::StrCat("merge ", i, " spells no bytes"));
    }
    options->merges.emplace_back(*std::move(left), *std::move(right));
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenizerParts> ReadBpe(const GgufFile& file,
                                       absl::Span<const std::string> tokens,
                                       absl::Span<const PieceType> types) {
  // Files from before the key guess; so would we.
  if (!file.Has("tokenizer.ggml.pre")) {
    return absl::UnimplementedError(
        "a GGUF file without tokenizer.ggml.pre is not supported: its "
        "pre-tokenizer is not known");
  }
  CARAVAN_ASSIGN_OR_RETURN(const absl::string_view pre,
                           file.String("tokenizer.ggml.pre"));
  CARAVAN_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizerByName(pre));
  TokenizerParts parts;
  BpeModel::Options options{.symbols_are_bytes = true,
                            .ignore_merges = pre == "llama-bpe"};
  std::vector<AddedToken> added;
  parts.token_bytes.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    const auto bytes = BytesOfByteLevel(tokens[i]);
    parts.token_bytes.push_back(bytes.value_or(tokens[i]));
    if (types[i] == PieceType::kNormal) {
      if (bytes.has_value()) options.vocabulary.try_emplace(*bytes, id);
      continue;
    }
    added.push_back({.id = id,
                     .spelling = tokens[i],
                     .control = types[i] != PieceType::kUserDefined});
    // So that a merge into it is left out rather than malformed.
    if (bytes.has_value()) options.vocabulary.try_emplace(*bytes, id);
    options.control_ids.insert(id);
  }
  CARAVAN_RETURN_IF_ERROR(AddTokens(added, &parts));
  CARAVAN_RETURN_IF_ERROR(ReadMerges(file, &options));
  CARAVAN_ASSIGN_OR_RETURN(BpeModel model,
                           BpeModel::Create(std::move(options)));
  parts.encoder = std::make_unique<BpeSegmentEncoder>(
      BpeNormalizer(), std::move(pre_tokenizer), std::move(model));
  return parts;
}

absl::StatusOr<TokenizerParts> ReadSentencePiece(
    const GgufFile& file, absl::Span<const std::string> tokens,
    absl::Span<const PieceType> types) {
  CARAVAN_ASSIGN_OR_RETURN(const absl::Span<const double> scores,
                           file.Floats("tokenizer.ggml.scores"));
  if (scores.size() != tokens.size()) {
    return Malformed(
        absl::StrCat(scores.size(), " scores for ", tokens.size(), " tokens"));
  }
  CARAVAN_ASSIGN_OR_RETURN(
      const bool adds_space,
      BoolOr(file, "tokenizer.ggml.add_space_prefix", true));
  CARAVAN_ASSIGN_OR_RETURN(
      const bool removes_spaces,
      BoolOr(file, "tokenizer.ggml.remove_extra_whitespaces", false));
  if (removes_spaces) {
    return absl::UnimplementedError(
        "tokenizer.ggml.remove_extra_whitespaces is not supported");
  }
  SentencePieceVocabulary vocabulary{
      .dummy_prefix = adds_space ? DummyPrefix::kAlways : DummyPrefix::kNever};
  vocabulary.pieces.reserve(tokens.size());
  for (size_t i = 0; i < tokens.size(); ++i) {
    vocabulary.pieces.push_back({.text = tokens[i],
                                 .score = static_cast<float>(scores[i]),
                                 .type = types[i]});
  }
  return SentencePieceParts(vocabulary);
}

}  // namespace

absl::StatusOr<TokenizerParts> ReadGgufTokenizer(const GgufFile& file) {
  if (!file.Has("tokenizer.ggml.model")) {
    return absl::NotFoundError("the GGUF file has no tokenizer");
  }
  CARAVAN_ASSIGN_OR_RETURN(const absl::string_view kind,
                           file.String("tokenizer.ggml.model"));
  CARAVAN_ASSIGN_OR_RETURN(const absl::Span<const std::string> tokens,
                           file.Strings("tokenizer.ggml.tokens"));
  if (tokens.empty() || tokens.size() > kMaxVocabulary) {
    return Malformed(absl::StrCat("a vocabulary of ", tokens.size()));
  }
  CARAVAN_ASSIGN_OR_RETURN(const std::vector<PieceType> types,
                           TokenTypes(file, tokens.size()));
  absl::StatusOr<TokenizerParts> parts;
  if (kind == "gpt2") {
    parts = ReadBpe(file, tokens, types);
  } else if (kind == "llama") {
    parts = ReadSentencePiece(file, tokens, types);
  } else {
    return absl::UnimplementedError(
        absl::StrCat("tokenizer.ggml.model \"", absl::CHexEscape(kind),
                     "\" is not supported; gpt2 and llama are"));
  }
  CARAVAN_RETURN_IF_ERROR(parts.status());
  CARAVAN_ASSIGN_OR_RETURN(
      parts->bos_token,
      TokenOrNone(file, "tokenizer.ggml.bos_token_id", tokens.size()));
  CARAVAN_ASSIGN_OR_RETURN(
      parts->eos_token,
      TokenOrNone(file, "tokenizer.ggml.eos_token_id", tokens.size()));
  // llama.cpp's defaults: SentencePiece adds one, byte-level BPE does where it
  // is Llama 3's.
  const bool by_default =
      kind == "llama" ||
      (file.Has("tokenizer.ggml.pre") &&
       file.String("tokenizer.ggml.pre").value_or("") == "llama-bpe");
  CARAVAN_ASSIGN_OR_RETURN(
      parts->adds_bos,
      BoolOr(file, "tokenizer.ggml.add_bos_token", by_default));
  return parts;
}

}  // namespace caravan::coordinator
