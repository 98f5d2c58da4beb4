// Text to token ids and back.
#ifndef CARAVAN_COORDINATOR_TEXT_TOKENIZER_H_
#define CARAVAN_COORDINATOR_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace caravan::coordinator {

// A piece of a rendered conversation: the template's own text, in which control
// tokens are spelled, or what somebody wrote, in which nothing is one.
struct ChatPiece {
  std::string text;
  bool from_template = false;
};

// Const and thread-safe. Ids equal those of Hugging Face's tokenizer for the
// same checkpoint.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  virtual int vocab_size() const = 0;
  virtual int bos_token() const = 0;  // -1: none
  virtual int eos_token() const = 0;  // -1: none
  // Whether the checkpoint puts bos_token() before a plain prompt.
  virtual bool adds_bos() const = 0;

  // Plain text: whatever it spells, no control token comes out. No bos.
  // kInvalidArgument: not UTF-8.
  virtual absl::StatusOr<std::vector<int32_t>> Encode(
      absl::string_view text) const = 0;

  // A rendered conversation as one text: control tokens come out where template
  // pieces spell them whole, and nowhere else. No bos is added.
  // kInvalidArgument: not UTF-8.
  virtual absl::StatusOr<std::vector<int32_t>> EncodePieces(
      absl::Span<const ChatPiece> pieces) const = 0;

  // The id of a control token by its spelling ("<|im_end|>"); -1: none.
  virtual int32_t SpecialToken(absl::string_view spelling) const = 0;
  virtual bool IsSpecial(int32_t id) const = 0;

  // The bytes that `id` adds to a text: possibly part of a UTF-8 character. A
  // control token has its spelling here; callers that show text leave those
  // out. Empty for an id outside the vocabulary.
  virtual std::string TokenBytes(int32_t id) const = 0;

  // Whether decoding drops the one space that encoding put in front of a text
  // (SentencePiece's dummy prefix).
  virtual bool strips_leading_space() const = 0;
};

// From a Hugging Face folder (tokenizer.json or tokenizer.model) or a GGUF
// file. kNotFound: the checkpoint has none. kUnimplemented: a kind that would
// give other ids than the original, by name.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(
    absl::string_view model_path);

// The whole of `ids` as text, control tokens left out, invalid UTF-8 replaced
// by U+FFFD.
std::string Decode(const Tokenizer& tokenizer, absl::Span<const int32_t> ids);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_TOKENIZER_H_
