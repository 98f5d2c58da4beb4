// Reading files that are small or refused.
#ifndef CARAVAN_WORKER_AGENT_SMALL_FILE_H_
#define CARAVAN_WORKER_AGENT_SMALL_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"

namespace caravan::worker {

// kNotFound or what errno says; kResourceExhausted when the file has more than
// `max_bytes`.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path,
                                          int64_t max_bytes);

// Writes the file anew, for its owner only.
absl::Status WriteSmallFile(const std::string& path, absl::string_view text);

// The cluster's secret: the file's text without the white space around it.
// kInvalidArgument when that is empty.
absl::StatusOr<std::string> ReadToken(const std::string& path);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_SMALL_FILE_H_
