// SentencePiece's BPE: merges by the score of their result.
//
// Own code and not the library: that one exports another version of protobuf's
// symbols than gRPC uses, so that no process can hold both; it has no GGUF
// reader; and it trusts its model files. Ids are compared with the library's in
// the tests.
#ifndef CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_MODEL_H_
#define CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_MODEL_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "coordinator/text/added_tokens.h"
#include "coordinator/text/composed_tokenizer.h"
#include "coordinator/text/segment_encoder.h"

namespace caravan::coordinator {

// With the numbers of SentencePiece's model files and of GGUF's token types.
enum class PieceType {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct SentencePiece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

// A vocabulary by id, and how texts are prepared for it.
struct SentencePieceVocabulary {
  std::vector<SentencePiece> pieces;
  DummyPrefix dummy_prefix = DummyPrefix::kAlways;
  bool byte_fallback = true;
};

// Immutable; const methods are thread-safe.
//
// Symbols are characters at first, or user-defined pieces, which stay as they
// are; as long as two neighbours together are a piece, those of the best score
// become one, leftmost first. A heap over a linked list makes it n log n.
class SentencePieceModel final : public SegmentEncoder {
 public:
  // Control tokens, unknown and unused pieces and those that only a template
  // may spell never come out of a text.
  explicit SentencePieceModel(const SentencePieceVocabulary& vocabulary);

  absl::Status Encode(absl::string_view text, bool at_start,
                      std::vector<int32_t>* ids) const override;

 private:
  struct Piece {
    int32_t id;
    float score;
  };
  struct Symbol;
  struct Candidate;
  class Merger;

  // nullptr: not there.
  const Piece* Find(absl::string_view text) const;
  std::vector<Symbol> SplitIntoSymbols(absl::string_view text) const;
  void AppendIds(absl::string_view text, absl::Span<const Symbol> symbols,
                 std::vector<int32_t>* ids) const;

  absl::flat_hash_map<std::string, Piece> pieces_;
  size_t longest_piece_ = 0;
  std::unique_ptr<AddedTokens> user_defined_;
  std::array<int32_t, 256> byte_ids_;  // -1: none
  int32_t unknown_id_ = -1;
  const DummyPrefix dummy_prefix_;
  const bool byte_fallback_;
};

// kInvalidArgument: no or too many pieces, an empty one, one twice, one that is
// not UTF-8, or a score that is not finite, by id. bos_token, eos_token and
// adds_bos are left to the caller.
absl::StatusOr<TokenizerParts> SentencePieceParts(
    const SentencePieceVocabulary& vocabulary);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_MODEL_H_
