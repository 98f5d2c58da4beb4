#include "base/log.h"

#include <unistd.h>

#include <memory>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace caravan {
namespace {

constexpr char kEraseLine[] = "\r\033[K";

spdlog::logger& Logger() {
  static spdlog::logger* logger = [] {
    auto sink = std::make_shared<spdlog::sinks::stderr_color_sink_mt>();
    auto* created = new spdlog::logger("caravan", std::move(sink));
    created->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%L%$ %v");
    created->flush_on(spdlog::level::debug);
    return created;
  }();
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::info;
}

// As the pattern's %L writes it.
std::optional<LogLevel> LevelOfLetter(char letter) {
  switch (letter) {
    case 'D':
      return LogLevel::kDebug;
    case 'I':
      return LogLevel::kInfo;
    case 'W':
      return LogLevel::kWarning;
    case 'E':
      return LogLevel::kError;
    default:
      return std::nullopt;
  }
}

}  // namespace

void InitializeLog(absl::string_view role, LogLevel level,
                   bool replaces_last_line) {
  const bool erases = replaces_last_line && isatty(STDERR_FILENO) != 0;
  Logger().set_pattern(absl::StrCat(
      erases ? kEraseLine : "", "%Y-%m-%dT%H:%M:%S.%e %^%L%$ [", role, "] %v"));
  Logger().set_level(ToSpdlog(level));
}

void Log(LogLevel level, absl::string_view message) {
  std::string line;
  line.reserve(message.size());
  for (char c : message) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      absl::StrAppend(&line, absl::CEscape(absl::string_view(&c, 1)));
    } else {
      line.push_back(c);
    }
  }
  Logger().log(ToSpdlog(level), "{}", line);
}

void LogDebug(absl::string_view message) { Log(LogLevel::kDebug, message); }
void LogInfo(absl::string_view message) { Log(LogLevel::kInfo, message); }
void LogWarning(absl::string_view message) { Log(LogLevel::kWarning, message); }
void LogError(absl::string_view message) { Log(LogLevel::kError, message); }

std::optional<LogEntry> ParseLogLine(absl::string_view line) {
  constexpr absl::string_view kForm = "2026-01-31T23:59:59.999 I [";
  if (line.size() <= kForm.size()) return std::nullopt;
  const size_t letter = kForm.find('I');
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool fits = absl::ascii_isdigit(kForm[i])
                          ? absl::ascii_isdigit(line[i])
                          : line[i] == kForm[i] || i == letter;
    if (!fits) return std::nullopt;
  }
  const std::optional<LogLevel> level = LevelOfLetter(line[letter]);
  if (!level.has_value()) return std::nullopt;
  return LogEntry{.level = *level, .text = line.substr(kForm.size() - 1)};
}

}  // namespace caravan
