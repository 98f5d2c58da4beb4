// Finds stop strings in a text that arrives in pieces.
#ifndef CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_
#define CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// One per generated sequence; one thread. Holds text back while it could still
// become a stop string, so that nothing of one is ever shown.
//
// The stop string that is complete first wins, the longest of those that end
// at the same byte; so how the text is cut into pieces makes no difference.
// Time grows as the text's length times the number of stop strings.
class StopMatcher final {
 public:
  // Empty strings never match.
  explicit StopMatcher(std::vector<std::string> stops);

  struct Output {
    std::string text;         // safe to show
    bool stopped = false;     // a stop string was found; text ends before it
    std::string stop_string;  // which one
  };

  // Once stopped, later text is dropped.
  Output Append(absl::string_view text);

  // What was held back, once no more text comes.
  std::string Finish();

 private:
  // Knuth, Morris and Pratt's automaton of one stop string.
  struct Automaton {
    std::string stop;
    // By number of bytes matched: the next shorter number that also matches.
    std::vector<size_t> fallback;
    size_t matched = 0;  // bytes of `stop` that the text so far ends with

    // Whether `stop` is complete with `byte`.
    bool Step(char byte);
  };

  std::vector<Automaton> automata_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_
