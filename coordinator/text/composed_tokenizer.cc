#include "coordinator/text/composed_tokenizer.h"

#include <cstddef>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

// Positions in a text are 32 bits wide in the models; a dummy prefix and
// U+2581 for a space make it up to three times as long.
constexpr size_t kMaxTextBytes = size_t{256} << 20;

}  // namespace

absl::Status AddTokens(absl::Span<const AddedToken> tokens,
                       TokenizerParts* parts) {
  absl::flat_hash_map<int32_t, size_t> by_id;
  absl::flat_hash_map<std::string, size_t> by_spelling;
  for (size_t i = 0; i < parts->added_tokens.size(); ++i) {
    by_id.try_emplace(parts->added_tokens[i].id, i);
    by_spelling.try_emplace(parts->added_tokens[i].spelling, i);
  }
  for (const AddedToken& token : tokens) {
    if (token.id < 0 || token.id >= kMaxVocabulary) {
      return absl::InvalidArgumentError(absl::StrCat(
          "added token \"", absl::CHexEscape(token.spelling), "\" has id ",
          token.id, "; ids end at ", kMaxVocabulary));
    }
    if (static_cast<size_t>(token.id) >= parts->token_bytes.size()) {
      parts->token_bytes.resize(token.id + 1);
    }
    parts->token_bytes[token.id] = token.spelling;
    const auto same_id = by_id.find(token.id);
    const auto same_spelling = by_spelling.find(token.spelling);
    size_t place = parts->added_tokens.size();
    if (same_id != by_id.end()) {
      place = same_id->second;
    } else if (same_spelling != by_spelling.end()) {
      place = same_spelling->second;
    }
    if (place == parts->added_tokens.size()) {
      parts->added_tokens.push_back(token);
    } else {
      AddedToken& replaced = parts->added_tokens[place];
      by_id.erase(replaced.id);
      by_spelling.erase(replaced.spelling);
      replaced = token;
    }
    by_id[token.id] = place;
    by_spelling[token.spelling] = place;
  }
  return absl::OkStatus();
}

ComposedTokenizer::ComposedTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)), added_tokens_(parts_.added_tokens) {
  is_control_.resize(parts_.token_bytes.size());
  for (const AddedToken& token : parts_.added_tokens) {
    if (IsTemplateOnly(token)) {
      template_only_.try_emplace(token.spelling, token.id);
    }
    if (token.control) is_control_[token.id] = true;
  }
}

int ComposedTokenizer::vocab_size() const {
  return static_cast<int>(parts_.token_bytes.size());
}

absl::StatusOr<std::vector<int32_t>> ComposedTokenizer::Encode(
    absl::string_view text) const {
  return EncodeText(text, {});
}

absl::StatusOr<std::vector<int32_t>> ComposedTokenizer::EncodePieces(
    absl::Span<const ChatPiece> pieces) const {
  std::string text;
  std::vector<TextRange> template_ranges;
  for (const ChatPiece& piece : pieces) {
    const TextRange range{text.size(), text.size() + piece.text.size()};
    text += piece.text;
    if (!piece.from_template || piece.text.empty()) continue;
    if (!template_ranges.empty() && template_ranges.back().end == range.begin) {
      template_ranges.back().end = range.end;
    } else {
      template_ranges.push_back(range);
    }
  }
  return EncodeText(text, template_ranges);
}

absl::StatusOr<std::vector<int32_t>> ComposedTokenizer::EncodeText(
    absl::string_view text, absl::Span<const TextRange> template_ranges) const {
  if (text.size() > kMaxTextBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "a text of ", text.size(), " bytes; the limit is ", kMaxTextBytes));
  }
  CARAVAN_RETURN_IF_ERROR(CheckUtf8(text));
  std::vector<int32_t> ids;
  for (const TextFragment& fragment :
       added_tokens_.Split(text, template_ranges)) {
    if (fragment.id >= 0) {
      ids.push_back(fragment.id);
      continue;
    }
    const auto [begin, end] = fragment.range;
    CARAVAN_RETURN_IF_ERROR(parts_.encoder->Encode(
        text.substr(begin, end - begin), /*at_start=*/begin == 0, &ids));
  }
  return ids;
}

int32_t ComposedTokenizer::SpecialToken(absl::string_view spelling) const {
  const auto found = template_only_.find(spelling);
  return found == template_only_.end() ? -1 : found->second;
}

bool ComposedTokenizer::IsSpecial(int32_t id) const {
  return id >= 0 && static_cast<size_t>(id) < is_control_.size() &&
         is_control_[id];
}

std::string ComposedTokenizer::TokenBytes(int32_t id) const {
  if (id < 0 || id >= vocab_size()) return "";
  return parts_.token_bytes[id];
}

}  // namespace caravan::coordinator
