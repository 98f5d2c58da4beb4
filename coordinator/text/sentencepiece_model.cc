#include "coordinator/text/sentencepiece_model.h"

#include <algorithm>
#include <cmath>
#include <queue>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "coordinator/text/sentencepiece_bytes.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

AddedToken AddedTokenOf(const SentencePiece& piece, int32_t id) {
  const bool text = piece.type == PieceType::kUserDefined;
  return {.id = id, .spelling = piece.text, .control = !text};
}

bool IsTemplateOnlyPiece(const SentencePiece& piece) {
  return piece.type == PieceType::kUserDefined &&
         IsTemplateOnly(AddedTokenOf(piece, 0));
}

}  // namespace

// Bytes [begin, begin + size) of the text; a list within an array.
struct SentencePieceModel::Symbol {
  size_t begin;
  size_t size;       // 0: merged away
  int32_t previous;  // index, -1: none
  int32_t next;      // index, -1: none
  int32_t fixed_id;  // of a user-defined piece, -1: not one
};

// Two neighbours that could be merged when they were found.
struct SentencePieceModel::Candidate {
  float score;
  int32_t left;  // index of the left symbol
  size_t size;   // of both together

  // std::priority_queue has the greatest on top.
  bool operator<(const Candidate& other) const {
    return score != other.score ? score < other.score : left > other.left;
  }
};

class SentencePieceModel::Merger {
 public:
  Merger(const SentencePieceModel& model, absl::string_view text,
         std::vector<Symbol>* symbols)
      : model_(model), text_(text), symbols_(*symbols) {
    for (size_t i = 0; i < symbols_.size(); ++i) {
      Consider(static_cast<int32_t>(i));
    }
  }

  void Run() {
    while (!candidates_.empty()) {
      const Candidate best = candidates_.top();
      candidates_.pop();
      Symbol& left = symbols_[best.left];
      if (left.size == 0 || left.next < 0) continue;
      Symbol& right = symbols_[left.next];
      // One of the two has been merged with another since.
      if (left.size + right.size != best.size) continue;
      left.size = best.size;
      right.size = 0;
      left.next = right.next;
      if (left.next >= 0) symbols_[left.next].previous = best.left;
      Consider(left.previous);
      Consider(best.left);
    }
  }

 private:
  void Consider(int32_t index) {
    if (index < 0) return;
    const Symbol& left = symbols_[index];
    if (left.next < 0) return;
    const Symbol& right = symbols_[left.next];
    if (left.fixed_id >= 0 || right.fixed_id >= 0) return;
    const size_t size = left.size + right.size;
    const Piece* piece = model_.Find(text_.substr(left.begin, size));
    if (piece == nullptr) return;
    candidates_.push({.score = piece->score, .left = index, .size = size});
  }

  const SentencePieceModel& model_;
  const absl::string_view text_;
  std::vector<Symbol>& symbols_;
  std::priority_queue<Candidate> candidates_;
};

SentencePieceModel::SentencePieceModel(
    const SentencePieceVocabulary& vocabulary)
    : dummy_prefix_(vocabulary.dummy_prefix),
      byte_fallback_(vocabulary.byte_fallback) {
  byte_ids_.fill(-1);
  std::vector<AddedToken> user_defined;
  for (size_t i = 0; i < vocabulary.pieces.size(); ++i) {
    const SentencePiece& piece = vocabulary.pieces[i];
    const int32_t id = static_cast<int32_t>(i);
    switch (piece.type) {
      case PieceType::kUserDefined:
        if (IsTemplateOnlyPiece(piece)) break;
        user_defined.push_back(AddedTokenOf(piece, id));
        [[fallthrough]];
      case PieceType::kNormal:
        pieces_[piece.text] = {.id = id, .score = piece.score};
        longest_piece_ = std::max(longest_piece_, piece.text.size());
        break;
      case PieceType::kByte:
        if (const auto byte = ByteOfSpelling(piece.text)) {
          byte_ids_[static_cast<uint8_t>(*byte)] = id;
        }
        break;
      case PieceType::kUnknown:
        unknown_id_ = id;
        break;
      case PieceType::kControl:
      case PieceType::kUnused:
        break;
    }
  }
  user_defined_ = std::make_unique<AddedTokens>(user_defined);
}

const SentencePieceModel::Piece* SentencePieceModel::Find(
    absl::string_view text) const {
  if (text.size() > longest_piece_) return nullptr;
  const auto found = pieces_.find(text);
  return found == pieces_.end() ? nullptr : &found->second;
}

absl::Status SentencePieceModel::Encode(absl::string_view text, bool at_start,
                                        std::vector<int32_t>* ids) const {
  if (text.empty()) return absl::OkStatus();
  const bool prefix = dummy_prefix_ == DummyPrefix::kAlways ||
                      (dummy_prefix_ == DummyPrefix::kFirst && at_start);
  const std::string prepared = absl::StrReplaceAll(
      absl::StrCat(prefix ? " " : "", text), {{" ", kMetaspace}});
  std::vector<Symbol> symbols = SplitIntoSymbols(prepared);
  Merger(*this, prepared, &symbols).Run();
  AppendIds(prepared, symbols, ids);
  return absl::OkStatus();
}

std::vector<SentencePieceModel::Symbol> SentencePieceModel::SplitIntoSymbols(
    absl::string_view text) const {
  std::vector<Symbol> symbols;
  const auto add = [&](size_t begin, size_t size, int32_t fixed_id) {
    const int32_t index = static_cast<int32_t>(symbols.size());
    symbols.push_back({.begin = begin,
                       .size = size,
                       .previous = index - 1,
                       .next = index + 1,
                       .fixed_id = fixed_id});
  };
  for (const TextFragment& fragment : user_defined_->Split(text, {})) {
    const auto [begin, end] = fragment.range;
    if (fragment.id >= 0) {
      add(begin, end - begin, fragment.id);
      continue;
    }
    for (size_t i = begin; i < end; i += symbols.back().size) {
      add(i, FrontUtf8(text.substr(i)).length, -1);
    }
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

void SentencePieceModel::AppendIds(absl::string_view text,
                                   absl::Span<const Symbol> symbols,
                                   std::vector<int32_t>* ids) const {
  bool after_unknown = false;
  for (const Symbol& symbol : symbols) {
    if (symbol.size == 0) continue;
    const absl::string_view piece = text.substr(symbol.begin, symbol.size);
    const Piece* known = symbol.fixed_id < 0 ? Find(piece) : nullptr;
    const bool is_unknown = symbol.fixed_id < 0 && known == nullptr;
    if (!is_unknown) {
      ids->push_back(known == nullptr ? symbol.fixed_id : known->id);
    } else if (byte_fallback_) {
      for (const char byte : piece) {
        const int32_t id = byte_ids_[static_cast<uint8_t>(byte)];
        if (id >= 0) ids->push_back(id);
      }
    } else if (unknown_id_ >= 0 && !after_unknown) {
      ids->push_back(unknown_id_);
    }
    after_unknown = is_unknown;
  }
}

absl::StatusOr<TokenizerParts> SentencePieceParts(
    const SentencePieceVocabulary& vocabulary) {
  const std::vector<SentencePiece>& pieces = vocabulary.pieces;
  if (pieces.empty() || pieces.size() > kMaxVocabulary) {
    return absl::InvalidArgumentError(
        absl::StrCat("a vocabulary of ", pieces.size(),
                     " pieces; there may be 1 to ", kMaxVocabulary));
  }
  TokenizerParts parts;
  std::vector<AddedToken> added;
  absl::flat_hash_set<absl::string_view> seen;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const SentencePiece& piece = pieces[i];
    if (piece.text.empty() || !CheckUtf8(piece.text).ok() ||
        !std::isfinite(piece.score) || !seen.insert(piece.text).second) {
      return absl::InvalidArgumentError(
          absl::StrCat("piece ", i,
                       " is empty, not UTF-8, there twice, or of a score that "
                       "is no number"));
    }
    const bool is_byte = piece.type == PieceType::kByte;
    if (is_byte && !ByteOfSpelling(piece.text).has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat("piece ", i, " is a byte that is not spelled as one"));
    }
    parts.token_bytes.push_back(BytesOfSentencePiece(piece.text, is_byte));
    const bool is_control = piece.type == PieceType::kControl ||
                            piece.type == PieceType::kUnknown ||
                            piece.type == PieceType::kUnused;
    if (is_control || IsTemplateOnlyPiece(piece)) {
      added.push_back(AddedTokenOf(piece, static_cast<int32_t>(i)));
    }
  }
  CARAVAN_RETURN_IF_ERROR(AddTokens(added, &parts));
  parts.strips_leading_space = vocabulary.dummy_prefix != DummyPrefix::kNever;
  parts.encoder = std::make_unique<SentencePieceModel>(vocabulary);
  return parts;
}

}  // namespace caravan::coordinator
