#include "base/log.h"

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "spdlog/sinks/stdout_color_sinks.h"
#include "spdlog/spdlog.h"

namespace caravan {
namespace {

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

void Write(LogLevel level, absl::string_view message) {
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

}  // namespace

void InitializeLog(absl::string_view role, LogLevel level) {
  Logger().set_pattern(
      absl::StrCat("%Y-%m-%dT%H:%M:%S.%e %^%L%$ [", role, "] %v"));
  Logger().set_level(ToSpdlog(level));
}

void LogDebug(absl::string_view message) { Write(LogLevel::kDebug, message); }
void LogInfo(absl::string_view message) { Write(LogLevel::kInfo, message); }
void LogWarning(absl::string_view message) {
  Write(LogLevel::kWarning, message);
}
void LogError(absl::string_view message) { Write(LogLevel::kError, message); }

}  // namespace caravan
