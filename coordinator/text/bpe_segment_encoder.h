// Normalizer, pre-tokenizer and BPE, one after the other.
#ifndef CARAVAN_COORDINATOR_TEXT_BPE_SEGMENT_ENCODER_H_
#define CARAVAN_COORDINATOR_TEXT_BPE_SEGMENT_ENCODER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/bpe_model.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/segment_encoder.h"

namespace caravan::coordinator {

// What Llama 2's tokenizer.json does to a segment first.
struct BpeNormalizer {
  bool prepends_space = false;   // U+2581, whatever the segment begins with
  bool replaces_spaces = false;  // by U+2581
};

class BpeSegmentEncoder final : public SegmentEncoder {
 public:
  BpeSegmentEncoder(BpeNormalizer normalizer, PreTokenizer pre_tokenizer,
                    BpeModel model);

  absl::Status Encode(absl::string_view text, bool at_start,
                      std::vector<int32_t>* ids) const override;

 private:
  const BpeNormalizer normalizer_;
  const PreTokenizer pre_tokenizer_;
  const BpeModel model_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_BPE_SEGMENT_ENCODER_H_
