// The one logger. Lines go to standard error, one line per event, with a time,
// a level and the name of the process's role. Thread-safe.
#ifndef CARAVAN_BASE_LOG_H_
#define CARAVAN_BASE_LOG_H_

#include <optional>

#include "absl/strings/string_view.h"

namespace caravan {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// Sets what stands in each line ("coordinator", "agent node-a",
// "engine r0 e3 rank 2") and the least level that is written. On a terminal
// lines take the place of what is drawn on its last line, a progress bar, with
// `replaces_last_line`.
void InitializeLog(absl::string_view role, LogLevel level,
                   bool replaces_last_line = false);

// Line breaks and control characters in `message` are escaped, so that input
// from outside cannot forge a line.
void Log(LogLevel level, absl::string_view message);
void LogDebug(absl::string_view message);
void LogInfo(absl::string_view message);
void LogWarning(absl::string_view message);
void LogError(absl::string_view message);

// A line of a log, without its time.
struct LogEntry {
  LogLevel level = LogLevel::kInfo;
  absl::string_view text;  // "[engine r0 e3 rank 2] message"
};

// Takes a line that such a logger of another process wrote apart; `line`
// outlives the entry. nullopt: it has another form.
std::optional<LogEntry> ParseLogLine(absl::string_view line);

}  // namespace caravan

#endif  // CARAVAN_BASE_LOG_H_
