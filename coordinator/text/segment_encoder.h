// The part of a tokenizer that knows no control tokens.
#ifndef CARAVAN_COORDINATOR_TEXT_SEGMENT_ENCODER_H_
#define CARAVAN_COORDINATOR_TEXT_SEGMENT_ENCODER_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// How SentencePiece writes a space: U+2581.
inline constexpr absl::string_view kMetaspace = "\xE2\x96\x81";

// When a text gets SentencePiece's dummy prefix, a space in front that makes
// its first word look like any other.
enum class DummyPrefix {
  kNever,
  kFirst,   // the segment at the start of the whole text only
  kAlways,  // each segment between control tokens
};

// A segment is a longest run of text without control tokens. Const and
// thread-safe.
class SegmentEncoder {
 public:
  virtual ~SegmentEncoder() = default;

  // Appends the ids of `text`, which is UTF-8, to `ids`. `at_start`: nothing
  // stands before it. Time grows as n log n at most.
  virtual absl::Status Encode(absl::string_view text, bool at_start,
                              std::vector<int32_t>* ids) const = 0;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_SEGMENT_ENCODER_H_
