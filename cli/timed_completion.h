// One streamed completion of token ids, and when its tokens came.
#ifndef CARAVAN_CLI_TIMED_COMPLETION_H_
#define CARAVAN_CLI_TIMED_COMPLETION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cli/http_client.h"

namespace caravan::cli {

struct TimedCompletionRequest {
  std::string model;  // empty: the server's first
  std::vector<int32_t> prompt;
  int64_t num_tokens = 1;  // to generate, whatever they are
};

// Times of a clock that is never set, since some moment.
struct TokenTimes {
  absl::Duration sent;
  std::vector<absl::Duration> tokens;  // one for each, in order
};

// Blocks until the last token has come. Greedy, past end tokens. Errors:
// HttpClient's, those that the server sends in the stream; kInternal: another
// number of tokens came.
absl::StatusOr<TokenTimes> TimeCompletion(
    const HttpClient& client, const TimedCompletionRequest& request);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_TIMED_COMPLETION_H_
