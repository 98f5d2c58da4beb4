#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/added_tokens.h"
#include "coordinator/text/composed_tokenizer.h"
#include "coordinator/text/folder.h"
#include "coordinator/text/gguf_tokenizer.h"
#include "coordinator/text/segment_encoder.h"
#include "coordinator/text/sentencepiece_file.h"
#include "coordinator/text/sentencepiece_model.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_json.h"
#include "partition/model/file.h"
#include "partition/model/gguf_file.h"

namespace caravan::coordinator {
namespace {

// Llama 3's, with merges as pairs, is 17 MB.
constexpr int64_t kMaxTokenizerJsonBytes = 64 << 20;
constexpr int64_t kMaxTokenizerModelBytes = 64 << 20;

// -1: nothing is spelled so.
int IdOf(const TokenizerParts& parts, absl::string_view spelling) {
  if (spelling.empty()) return -1;
  for (const AddedToken& token : parts.added_tokens) {
    if (token.spelling == spelling) return token.id;
  }
  return -1;
}

// The config's word counts, then what is set already, then Llama 2's names.
int EndToken(const TokenizerParts& parts, absl::string_view configured,
             int already, absl::string_view llama2) {
  const int id = IdOf(parts, configured);
  if (id >= 0) return id;
  return already >= 0 ? already : IdOf(parts, llama2);
}

void SetEnds(const TokenizerConfig& config, TokenizerParts* parts) {
  parts->bos_token = EndToken(*parts, config.bos, parts->bos_token, "<s>");
  parts->eos_token = EndToken(*parts, config.eos, parts->eos_token, "</s>");
}

// Those that the tokenizer's own file does not have yet.
absl::Status AddMissingTokens(const TokenizerConfig& config,
                              TokenizerParts* parts) {
  std::vector<AddedToken> missing;
  for (const AddedToken& token : config.added_tokens) {
    const bool in_vocabulary =
        static_cast<size_t>(token.id) < parts->token_bytes.size() &&
        !parts->token_bytes[token.id].empty();
    if (!in_vocabulary && IdOf(*parts, token.spelling) < 0) {
      missing.push_back(token);
    }
  }
  return AddTokens(missing, parts);
}

absl::StatusOr<TokenizerParts> LoadJson(absl::string_view text,
                                        const TokenizerConfig& config) {
  CARAVAN_ASSIGN_OR_RETURN(TokenizerParts parts, ReadTokenizerJson(text));
  CARAVAN_RETURN_IF_ERROR(AddMissingTokens(config, &parts));
  SetEnds(config, &parts);
  // The Llama classes make their own post-processor of add_bos_token, with or
  // without the file's.
  if (absl::StartsWith(config.tokenizer_class, "LlamaTokenizer")) {
    parts.adds_bos = config.adds_bos.value_or(true);
  }
  return parts;
}

absl::StatusOr<TokenizerParts> LoadSentencePiece(
    absl::string_view bytes, const TokenizerConfig& config) {
  CARAVAN_ASSIGN_OR_RETURN(SentencePieceFile file,
                           ReadSentencePieceFile(bytes));
  // Since "legacy": false the prefix stands at the start of a text only.
  if (file.vocabulary.dummy_prefix == DummyPrefix::kAlways &&
      !config.legacy.value_or(true)) {
    file.vocabulary.dummy_prefix = DummyPrefix::kFirst;
  }
  CARAVAN_ASSIGN_OR_RETURN(TokenizerParts parts,
                           SentencePieceParts(file.vocabulary));
  parts.bos_token = file.bos_token;
  parts.eos_token = file.eos_token;
  parts.adds_bos = config.adds_bos.value_or(true);
  CARAVAN_RETURN_IF_ERROR(AddTokens(config.added_tokens, &parts));
  SetEnds(config, &parts);
  return parts;
}

// Reads folder/name if it is there, and has `load` make a tokenizer of it.
template <typename Load>
absl::StatusOr<TokenizerParts> LoadFile(const std::string& path,
                                        int64_t max_bytes, Load load) {
  CARAVAN_ASSIGN_OR_RETURN(const std::string bytes,
                           partition::ReadWholeFile(path, max_bytes));
  absl::StatusOr<TokenizerParts> parts = load(bytes);
  if (!parts.ok()) return Annotate(parts.status(), path);
  return parts;
}

absl::StatusOr<TokenizerParts> LoadFolder(absl::string_view folder) {
  CARAVAN_ASSIGN_OR_RETURN(const TokenizerConfig config,
                           ReadTokenizerConfig(folder));
  absl::StatusOr<TokenizerParts> parts =
      LoadFile(absl::StrCat(folder, "/tokenizer.json"), kMaxTokenizerJsonBytes,
               [&](const std::string& text) { return LoadJson(text, config); });
  if (!absl::IsNotFound(parts.status())) return parts;
  parts = LoadFile(absl::StrCat(folder, "/tokenizer.model"),
                   kMaxTokenizerModelBytes, [&](const std::string& bytes) {
                     return LoadSentencePiece(bytes, config);
                   });
  if (!absl::IsNotFound(parts.status())) return parts;
  return absl::NotFoundError(absl::StrCat(
      folder, " has neither a tokenizer.json nor a tokenizer.model"));
}

absl::StatusOr<TokenizerParts> LoadGguf(absl::string_view path) {
  CARAVAN_ASSIGN_OR_RETURN(const auto file, partition::GgufFile::Open(path));
  absl::StatusOr<TokenizerParts> parts = ReadGgufTokenizer(*file);
  if (!parts.ok()) return Annotate(parts.status(), path);
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    absl::string_view model_path) {
  CARAVAN_ASSIGN_OR_RETURN(TokenizerParts parts, IsFolder(model_path)
                                                     ? LoadFolder(model_path)
                                                     : LoadGguf(model_path));
  // Without the token itself there is nothing to add.
  parts.adds_bos = parts.adds_bos && parts.bos_token >= 0;
  return std::make_unique<ComposedTokenizer>(std::move(parts));
}

}  // namespace caravan::coordinator
