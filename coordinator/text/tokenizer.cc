#include "coordinator/text/tokenizer.h"

#include "coordinator/text/detokenizer.h"

namespace caravan::coordinator {

std::string Decode(const Tokenizer& tokenizer, absl::Span<const int32_t> ids) {
  Detokenizer detokenizer(&tokenizer, /*at_text_start=*/true);
  std::string text;
  for (const int32_t id : ids) text += detokenizer.Append(id);
  return text + detokenizer.Finish();
}

}  // namespace caravan::coordinator
