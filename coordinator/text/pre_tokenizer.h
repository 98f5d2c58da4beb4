// Cuts a text into the words that merges stay within.
#ifndef CARAVAN_COORDINATOR_TEXT_PRE_TOKENIZER_H_
#define CARAVAN_COORDINATOR_TEXT_PRE_TOKENIZER_H_

#include <cstdint>
#include <deque>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "coordinator/text/regex.h"
#include "coordinator/text/segment_encoder.h"

namespace caravan::coordinator {

// The patterns of known tokenizers.
extern const absl::string_view kGpt2Pattern;
extern const absl::string_view kLlama3Pattern;
extern const absl::string_view kOneDigitPattern;
extern const absl::string_view kDigitsPattern;

// The steps of `tokenizers`' pre-tokenizers that Llama-family checkpoints use.
// Each cuts or changes every word that the step before left.

// Matches become words; what lies between does too, or is dropped.
struct SplitByPattern {
  Regex pattern;
  bool drops_rest = false;
};
// ByteLevel's add_prefix_space: a word that begins with no space gets one.
struct AddSpace {};
// Spaces become U+2581, and the dummy prefix is put before a word that does not
// begin with U+2581 by then. `splits`: a word begins at each U+2581.
struct Metaspace {
  DummyPrefix prefix = DummyPrefix::kAlways;
  bool splits = false;
};
using PreTokenizerStep = std::variant<SplitByPattern, AddSpace, Metaspace>;

// Words point into the text or into `storage`.
struct PreTokenized {
  std::vector<absl::string_view> words;
  std::deque<std::string> storage;
};

// Immutable; const methods are thread-safe.
class PreTokenizer final {
 public:
  explicit PreTokenizer(std::vector<PreTokenizerStep> steps);

  // `text` is UTF-8 and outlives the result. `at_start`: nothing stands before
  // it. Errors are Regex's.
  absl::StatusOr<PreTokenized> Split(absl::string_view text,
                                     bool at_start) const;

 private:
  std::vector<PreTokenizerStep> steps_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_PRE_TOKENIZER_H_
