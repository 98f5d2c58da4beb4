// UTF-8: checking it, and making it of bytes that arrive in pieces.
#ifndef CARAVAN_COORDINATOR_TEXT_UTF8_H_
#define CARAVAN_COORDINATOR_TEXT_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// What the bytes at the front of a text are.
struct Utf8Sequence {
  enum class Kind {
    kCharacter,   // `length` bytes are one character
    kInvalid,     // `length` bytes are no character and never become one: the
                  // maximal subpart, which one U+FFFD stands for
    kIncomplete,  // all `length` bytes may become a character
  };
  Kind kind = Kind::kInvalid;
  size_t length = 0;
  uint32_t code_point = 0;  // of a character
};

// `text` is not empty. Surrogates, overlong forms and what lies above U+10FFFF
// are invalid.
Utf8Sequence FrontUtf8(absl::string_view text);

// kInvalidArgument by the offset of the first byte that is not UTF-8.
absl::Status CheckUtf8(absl::string_view text);

// Unicode's White_Space property.
bool IsWhiteSpace(uint32_t code_point);

// Takes from `pending` all that is decided, invalid sequences as U+FFFD, and
// leaves at most the three bytes of an incomplete character.
std::string TakeUtf8(std::string* pending);

// As Python's bytes.decode(errors="replace").
std::string ReplaceInvalidUtf8(absl::string_view bytes);

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_UTF8_H_
