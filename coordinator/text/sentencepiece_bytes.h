// What SentencePiece's spellings stand for.
#ifndef CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_BYTES_H_
#define CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_BYTES_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// "<0x0A>" is a byte; nothing for other spellings.
std::optional<char> ByteOfSpelling(absl::string_view spelling);

// U+2581 is a space. `knows_bytes`: "<0x0A>" is that byte.
std::string BytesOfSentencePiece(absl::string_view spelling, bool knows_bytes);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_SENTENCEPIECE_BYTES_H_
