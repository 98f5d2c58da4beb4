// Regular expressions over UTF-8, by PCRE2.
#ifndef CARAVAN_COORDINATOR_TEXT_REGEX_H_
#define CARAVAN_COORDINATOR_TEXT_REGEX_H_

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// Bytes [begin, end) of a text.
struct TextRange {
  size_t begin = 0;
  size_t end = 0;
};

// Immutable and thread-safe. Patterns mean what Oniguruma takes them for
// (oniguruma_pattern.h); classes and cases are Unicode's.
class Regex final {
 public:
  // kInvalidArgument: not a pattern, by PCRE2's words. kUnimplemented: one that
  // PCRE2 would take differently, by name.
  static absl::StatusOr<Regex> Compile(absl::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  struct Code;  // PCRE2's headers stay out of this one
  explicit Regex(std::unique_ptr<Code> code);

  friend class RegexMatcher;

  std::unique_ptr<Code> code_;
};

// What matching needs besides the pattern, kept over many texts. One thread.
class RegexMatcher final {
 public:
  explicit RegexMatcher(const Regex& regex);  // which outlives this
  RegexMatcher(const RegexMatcher&) = delete;
  RegexMatcher& operator=(const RegexMatcher&) = delete;
  ~RegexMatcher();

  // All matches in `text`, which is UTF-8, from left to right; empty ones are
  // left out. kResourceExhausted: the pattern backtracks too much on this text.
  absl::StatusOr<std::vector<TextRange>> FindAll(absl::string_view text);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_REGEX_H_
