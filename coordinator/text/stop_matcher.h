// Finds stop strings in a text that arrives in pieces.
#ifndef CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_
#define CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace caravan::coordinator {

// One per generated sequence; one thread. Holds text back while it could still
// become a stop string, so that nothing of one is ever shown.
class StopMatcher final {
 public:
  explicit StopMatcher(std::vector<std::string> stops);

  struct Output {
    std::string text;         // safe to show
    bool stopped = false;     // a stop string was found; text ends before it
    std::string stop_string;  // which one
  };

  Output Append(absl::string_view text);

  // What was held back, once no more text comes.
  std::string Finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace caravan::coordinator

#endif  // CARAVAN_COORDINATOR_TEXT_STOP_MATCHER_H_
