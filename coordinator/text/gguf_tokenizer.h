// Reads the tokenizer of a GGUF file.
#ifndef CARAVAN_COORDINATOR_TEXT_GGUF_TOKENIZER_H_
#define CARAVAN_COORDINATOR_TEXT_GGUF_TOKENIZER_H_

#include "absl/status/statusor.h"
#include "coordinator/text/composed_tokenizer.h"
#include "partition/model/gguf_file.h"

namespace caravan::coordinator {

// Of the kinds `gpt2` (byte-level BPE, with the pre-tokenizers smollm,
// llama-bpe and gpt-2) and `llama` (SentencePiece). kUnimplemented: another, by
// name; kNotFound: the file has none; kInvalidArgument: malformed.
absl::StatusOr<TokenizerParts> ReadGgufTokenizer(
    const partition::GgufFile& file);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_GGUF_TOKENIZER_H_
