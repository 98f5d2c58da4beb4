// Reads the `tokenizer.json` of Hugging Face's `tokenizers`.
#ifndef CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_H_
#define CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/composed_tokenizer.h"

namespace caravan::coordinator {

// Of BPE models, byte-level ones and those of Llama 2's kind (U+2581 for a
// space, byte fallback). bos_token and adds_bos are the post-processor's; what
// it puts behind a text is left out, since prompts are to be continued.
// kUnimplemented: a part that would give other ids, by name; kInvalidArgument:
// malformed.
absl::StatusOr<TokenizerParts> ReadTokenizerJson(absl::string_view text);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_TOKENIZER_JSON_H_
