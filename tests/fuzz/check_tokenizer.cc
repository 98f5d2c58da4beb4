#include "tests/fuzz/check_tokenizer.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {
namespace {

constexpr absl::string_view kTexts[] = {
    "",
    " ",
    "a b  c\n\nab 123 don't",
    "\xC3\xBC\xE2\x82\xAC\xF0\x9F\x90\xAB\xE2\x96\x81 \xC2\xA0",
    "<s>a</s><|im_end|>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
};

void CheckIds(const Tokenizer& tokenizer,
              const absl::StatusOr<std::vector<int32_t>>& ids) {
  if (!ids.ok()) {
    // A pattern that backtracks too much.
    CARAVAN_CHECK(absl::IsResourceExhausted(ids.status()));
    return;
  }
  for (const int32_t id : *ids) {
    CARAVAN_CHECK(id >= 0 && id < tokenizer.vocab_size());
  }
  CARAVAN_CHECK(CheckUtf8(Decode(tokenizer, *ids)).ok());
}

}  // namespace

void CheckTokenizer(TokenizerParts parts) {
  const ComposedTokenizer tokenizer(std::move(parts));
  for (const int32_t id : {tokenizer.bos_token(), tokenizer.eos_token()}) {
    CARAVAN_CHECK(id >= -1 && id < tokenizer.vocab_size());
  }
  for (const absl::string_view text : kTexts) {
    CheckIds(tokenizer, tokenizer.Encode(text));
    const ChatPiece pieces[] = {{std::string(text), /*from_template=*/true},
                                {std::string(text), /*from_template=*/false}};
    CheckIds(tokenizer, tokenizer.EncodePieces(pieces));
  }
}

}  // namespace caravan::coordinator
