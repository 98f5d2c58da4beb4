// Server-sent events out of a stream of bytes.
#ifndef CARAVAN_CLI_EVENT_PARSER_H_
#define CARAVAN_CLI_EVENT_PARSER_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace caravan::cli {

// One thread. Follows the HTML standard as far as OpenAI's API uses it: lines
// end in LF or CR LF, lines of data add up, other fields and comments are
// skipped.
class EventParser final {
 public:
  explicit EventParser(int64_t max_event_bytes)
      : max_event_bytes_(max_event_bytes) {}

  // Calls `on_event` with the data of each event that `bytes` completes. Ends
  // with the first error of `on_event`. kResourceExhausted: an event is longer
  // than it may be.
  absl::Status Add(
      absl::string_view bytes,
      const std::function<absl::Status(absl::string_view data)>& on_event);

 private:
  const int64_t max_event_bytes_;
  std::string line_;  // not ended yet
  std::string data_;  // of the event that is not ended yet
  bool has_data_ = false;
};

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_EVENT_PARSER_H_
