#include "coordinator/text/sentencepiece_bytes.h"

#include <cstdint>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "coordinator/text/segment_encoder.h"

namespace caravan::coordinator {

std::optional<char> ByteOfSpelling(absl::string_view spelling) {
  uint32_t byte = 0;
  if (spelling.size() != 6 || !absl::StartsWith(spelling, "<0x") ||
      !absl::SimpleHexAtoi(spelling.substr(3, 2), &byte) || byte > 0xFF ||
      spelling != absl::StrFormat("<0x%02X>", byte)) {
    return std::nullopt;
  }
  return static_cast<char>(byte);
}

std::string BytesOfSentencePiece(absl::string_view spelling, bool knows_bytes) {
  if (knows_bytes) {
    if (const auto byte = ByteOfSpelling(spelling)) {
      return std::string(1, *byte);
    }
  }
  return absl::StrReplaceAll(spelling, {{kMetaspace, " "}});
}

}  // namespace caravan::coordinator
