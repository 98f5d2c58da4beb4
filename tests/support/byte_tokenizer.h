// A tokenizer whose tokens are bytes: what it makes of a text can be seen at a
// glance.
#ifndef CARAVAN_TESTS_SUPPORT_BYTE_TOKENIZER_H_
#define CARAVAN_TESTS_SUPPORT_BYTE_TOKENIZER_H_

#include <string>
#include <vector>

#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

namespace caravan::testing {

// Ids 0 to 255 are bytes; then come <s>, </s>, <|im_start|> and <|im_end|>. All
// others are printable characters once more, which Encode never uses: so what
// simulated engines say can mostly be read.
class ByteTokenizer final : public coordinator::Tokenizer {
 public:
  static constexpr int32_t kBos = 256;
  static constexpr int32_t kEos = 257;
  static constexpr int32_t kMessageStart = 258;
  static constexpr int32_t kMessageEnd = 259;
  static constexpr int kVocabSize = 4096;

  int vocab_size() const override { return kVocabSize; }
  int bos_token() const override { return kBos; }
  int eos_token() const override { return kEos; }
  bool adds_bos() const override { return true; }

  absl::StatusOr<std::vector<int32_t>> Encode(
      absl::string_view text) const override {
    const absl::Status status = coordinator::CheckUtf8(text);
    if (!status.ok()) return status;
    return Bytes(text);
  }

  absl::StatusOr<std::vector<int32_t>> EncodePieces(
      absl::Span<const coordinator::ChatPiece> pieces) const override {
    std::vector<int32_t> ids;
    for (const coordinator::ChatPiece& piece : pieces) {
      absl::string_view text = piece.text;
      while (!text.empty()) {
        const int32_t id = piece.from_template ? FrontSpecial(text) : -1;
        const size_t length = id < 0 ? 1 : TokenBytes(id).size();
        ids.push_back(id < 0 ? static_cast<unsigned char>(text[0]) : id);
        text.remove_prefix(length);
      }
    }
    return ids;
  }

  int32_t SpecialToken(absl::string_view spelling) const override {
    for (int32_t id = kBos; id <= kMessageEnd; ++id) {
      if (TokenBytes(id) == spelling) return id;
    }
    return -1;
  }
  bool IsSpecial(int32_t id) const override {
    return id >= kBos && id <= kMessageEnd;
  }

  std::string TokenBytes(int32_t id) const override {
    if (id >= 0 && id < kBos) return std::string(1, static_cast<char>(id));
    constexpr const char* kSpellings[] = {"<s>", "</s>", "<|im_start|>",
                                          "<|im_end|>"};
    if (IsSpecial(id)) return kSpellings[id - kBos];
    if (id < 0 || id >= kVocabSize) return "";
    return std::string(1, static_cast<char>(' ' + id % 95));
  }
  bool strips_leading_space() const override { return false; }

 private:
  static std::vector<int32_t> Bytes(absl::string_view text) {
    std::vector<int32_t> ids;
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }

  int32_t FrontSpecial(absl::string_view text) const {
    for (int32_t id = kBos; id <= kMessageEnd; ++id) {
      const std::string spelling = TokenBytes(id);
      if (text.substr(0, spelling.size()) == spelling) return id;
    }
    return -1;
  }
};

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_SUPPORT_BYTE_TOKENIZER_H_
