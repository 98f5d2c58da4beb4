// Patterns of tokenizer.json are written for Oniguruma, which Hugging Face's
// `tokenizers` uses; ours run on PCRE2.
#ifndef CARAVAN_COORDINATOR_TEXT_ONIGURUMA_PATTERN_H_
#define CARAVAN_COORDINATOR_TEXT_ONIGURUMA_PATTERN_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// The same pattern for PCRE2. kUnimplemented: it uses something that the two
// take differently or that we have not compared, by name. Patterns that PCRE2
// refuses pass.
absl::StatusOr<std::string> Pcre2FromOniguruma(absl::string_view pattern);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_ONIGURUMA_PATTERN_H_
