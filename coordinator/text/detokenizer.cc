#include "coordinator/text/detokenizer.h"

#include "absl/strings/match.h"
#include "coordinator/text/utf8.h"

namespace caravan::coordinator {

Detokenizer::Detokenizer(const Tokenizer* tokenizer, bool at_text_start)
    : tokenizer_(tokenizer),
      at_text_start_(at_text_start && tokenizer->strips_leading_space()) {}

std::string Detokenizer::Append(int32_t id) {
  // A character may go on after a control token, as in Decode().
  if (tokenizer_->IsSpecial(id)) return "";
  std::string bytes = tokenizer_->TokenBytes(id);
  if (at_text_start_ && !bytes.empty()) {
    at_text_start_ = false;
    if (absl::StartsWith(bytes, " ")) bytes.erase(0, 1);
  }
  pending_ += bytes;
  return TakeUtf8(&pending_);
}

std::string Detokenizer::Finish() {
  const std::string left = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  return left;
}

}  // namespace caravan::coordinator
