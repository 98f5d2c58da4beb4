#include <sys/stat.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/composed_tokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/tokenizer_config.h"
#include "coordinator/text/tokenizer_json.h"
#include "partition/model/file.h"

namespace caravan::coordinator {
namespace {

// Llama 3's, with merges as pairs, is 17 MB.
constexpr int64_t kMaxTokenizerJsonBytes = 64 << 20;

bool IsFolder(absl::string_view path) {
  struct stat info;
  return ::stat(std::string(path).c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

// -1: nothing is spelled so.
int IdOf(const TokenizerParts& parts, absl::string_view spelling) {
  if (spelling.empty()) return -1;
  for (const AddedToken& token : parts.added_tokens) {
    if (token.spelling == spelling) return token.id;
  }
  return -1;
}

void SetEnds(const TokenizerConfig& config, TokenizerParts* parts) {
  const int bos = IdOf(*parts, config.bos);
  if (bos >= 0) parts->bos_token = bos;
  const int eos = IdOf(*parts, config.eos);
  if (eos >= 0) parts->eos_token = eos;
}

absl::StatusOr<TokenizerParts> LoadJson(absl::string_view text,
                                        const TokenizerConfig& config) {
  CARAVAN_ASSIGN_OR_RETURN(TokenizerParts parts, ReadTokenizerJson(text));
  SetEnds(config, &parts);
  // The Llama classes make their own post-processor of add_bos_token, with or
  // without the file's.
  if (absl::StartsWith(config.tokenizer_class, "LlamaTokenizer")) {
    parts.adds_bos = config.adds_bos.value_or(true);
  }
  return parts;
}

absl::StatusOr<TokenizerParts> LoadFolder(absl::string_view folder) {
  CARAVAN_ASSIGN_OR_RETURN(const TokenizerConfig config,
                           ReadTokenizerConfig(folder));
  const std::string json_path = absl::StrCat(folder, "/tokenizer.json");
  absl::StatusOr<std::string> json =
      partition::ReadWholeFile(json_path, kMaxTokenizerJsonBytes);
  if (json.ok()) {
    absl::StatusOr<TokenizerParts> parts = LoadJson(*json, config);
    if (!parts.ok()) return Annotate(parts.status(), json_path);
    return parts;
  }
  if (!absl::IsNotFound(json.status())) return json.status();
  return absl::NotFoundError(absl::StrCat(
      folder, " has neither a tokenizer.json nor a tokenizer.model"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    absl::string_view model_path) {
  if (!IsFolder(model_path)) {
    return absl::UnimplementedError(
        "the tokenizers of GGUF files are not read");
  }
  CARAVAN_ASSIGN_OR_RETURN(TokenizerParts parts, LoadFolder(model_path));
  // Without the token itself there is nothing to add.
  parts.adds_bos = parts.adds_bos && parts.bos_token >= 0;
  return std::make_unique<ComposedTokenizer>(std::move(parts));
}

}  // namespace caravan::coordinator
