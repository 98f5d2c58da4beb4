// The one logger. Lines go to standard error, one line per event, with a time,
// a level and the name of the process's role. Thread-safe.
#ifndef CARAVAN_BASE_LOG_H_
#define CARAVAN_BASE_LOG_H_

#include "absl/strings/string_view.h"

namespace caravan {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sets what stands in each line ("coordinator", "agent node-a",
// "engine r0 e3 rank 2") and the least level that is written.
void InitializeLog(absl::string_view role, LogLevel level);

// Line breaks and control characters in `message` are escaped, so that input
// from outside cannot forge a line.
void LogDebug(absl::string_view message);
void LogInfo(absl::string_view message);
void LogWarning(absl::string_view message);
void LogError(absl::string_view message);

}  // namespace caravan

#endif  // CARAVAN_BASE_LOG_H_
