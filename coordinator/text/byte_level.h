// GPT-2's alphabet: how byte-level BPE vocabularies spell bytes as printable
// characters (Radford et al., 2019; bytes_to_unicode in its encoder.py).
#ifndef CARAVAN_COORDINATOR_TEXT_BYTE_LEVEL_H_
#define CARAVAN_COORDINATOR_TEXT_BYTE_LEVEL_H_

#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// The bytes that `spelling` stands for; nothing when it has a character outside
// the alphabet, so that no text can ever spell it.
std::optional<std::string> BytesOfByteLevel(absl::string_view spelling);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_BYTE_LEVEL_H_
