// What holds of every tokenizer, whatever file it was made of.
#ifndef CARAVAN_TESTS_FUZZ_CHECK_TOKENIZER_H_
#define CARAVAN_TESTS_FUZZ_CHECK_TOKENIZER_H_

#include "coordinator/text/composed_tokenizer.h"

namespace caravan::coordinator {

// Encodes and decodes a few texts.
void CheckTokenizer(TokenizerParts parts);

}  // namespace caravan::coordinator

#endif  // CARAVAN_TESTS_FUZZ_CHECK_TOKENIZER_H_
