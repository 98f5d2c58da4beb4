#include "coordinator/text/bpe_segment_encoder.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"

namespace caravan::coordinator {

BpeSegmentEncoder::BpeSegmentEncoder(BpeNormalizer normalizer,
                                     PreTokenizer pre_tokenizer, BpeModel model)
    : normalizer_(normalizer),
      pre_tokenizer_(std::move(pre_tokenizer)),
      model_(std::move(model)) {}

absl::Status BpeSegmentEncoder::Encode(absl::string_view text, bool at_start,
                                       std::vector<int32_t>* ids) const {
  if (text.empty()) return absl::OkStatus();
  std::string normalized;
  if (normalizer_.prepends_space || normalizer_.replaces_spaces) {
    normalized =
        absl::StrCat(normalizer_.prepends_space ? kMetaspace : "", text);
    if (normalizer_.replaces_spaces) {
      normalized = absl::StrReplaceAll(normalized, {{" ", kMetaspace}});
    }
    text = normalized;
  }
  CARAVAN_ASSIGN_OR_RETURN(const PreTokenized pre_tokenized,
                           pre_tokenizer_.Split(text, at_start));
  for (const absl::string_view word : pre_tokenized.words) {
    model_.Encode(word, ids);
  }
  return absl::OkStatus();
}

}  // namespace caravan::coordinator
