// Turns tokens into text as they come.
#ifndef CARAVAN_COORDINATOR_TEXT_DETOKENIZER_H_
#define CARAVAN_COORDINATOR_TEXT_DETOKENIZER_H_

#include <cstdint>
#include <string>

#include "absl/types/span.h"
#include "coordinator/text/tokenizer.h"

namespace caravan::coordinator {

// One per generated sequence; one thread. The concatenation of everything that
// Append and Finish return is Decode() of all ids in the context of the prompt,
// and no single return ever ends inside a UTF-8 character.
class Detokenizer final {
 public:
  // `tokenizer` outlives this. `at_text_start`: no prompt text stands before,
  // so that the dummy prefix space is dropped.
  explicit Detokenizer(const Tokenizer* tokenizer, bool at_text_start = false);

  // Text that `id` completes; empty while a character is incomplete.
  std::string Append(int32_t id);

  // What is left, an incomplete character as U+FFFD.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool at_text_start_;
  std::string pending_;  // bytes of an incomplete character
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_DETOKENIZER_H_
