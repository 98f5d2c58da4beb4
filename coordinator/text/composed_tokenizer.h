// The Tokenizer that every kind of checkpoint ends up as.
#ifndef CARAVAN_COORDINATOR_TEXT_COMPOSED_TOKENIZER_H_
#define CARAVAN_COORDINATOR_TEXT_COMPOSED_TOKENIZER_H_

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
#include "coordinator/text/segment_encoder.h"
#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

// Larger vocabularies are taken for broken files.
inline constexpr int kMaxVocabulary = 1 << 21;

// What a reader of a checkpoint makes.
struct TokenizerParts {
  std::unique_ptr<SegmentEncoder> encoder;
  std::vector<std::string> token_bytes;  // by id; added tokens included
  std::vector<AddedToken> added_tokens;  // ids within token_bytes
  int bos_token = -1;
  int eos_token = -1;
  bool adds_bos = false;
  bool strips_leading_space = false;
};

// Puts `tokens` among the added ones and their spellings into token_bytes,
// which grows as needed; those that are there with equal id or spelling give
// way. kInvalidArgument: an id that no vocabulary has.
absl::Status AddTokens(absl::Span<const AddedToken> tokens,
                       TokenizerParts* parts);

class ComposedTokenizer final : public Tokenizer {
 public:
  explicit ComposedTokenizer(TokenizerParts parts);

  int vocab_size() const override;
  int bos_token() const override { return parts_.bos_token; }
  int eos_token() const override { return parts_.eos_token; }
  bool adds_bos() const override { return parts_.adds_bos; }
  absl::StatusOr<std::vector<int32_t>> Encode(
      absl::string_view text) const override;
  absl::StatusOr<std::vector<int32_t>> EncodePieces(
      absl::Span<const ChatPiece> pieces) const override;
  int32_t SpecialToken(absl::string_view spelling) const override;
  bool IsSpecial(int32_t id) const override;
  std::string TokenBytes(int32_t id) const override;
  bool strips_leading_space() const override {
    return parts_.strips_leading_space;
  }

 private:
  // `template_ranges`: as for AddedTokens.
  absl::StatusOr<std::vector<int32_t>> EncodeText(
      absl::string_view text,
      absl::Span<const TextRange> template_ranges) const;

  const TokenizerParts parts_;
  const AddedTokens added_tokens_;
  absl::flat_hash_map<std::string, int32_t> template_only_;
  std::vector<bool> is_control_;  // by id
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_COMPOSED_TOKENIZER_H_
