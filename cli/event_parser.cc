#include "cli/event_parser.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status_macros.h"

namespace caravan::cli {

absl::Status EventParser::Add(
    absl::string_view bytes,
    const std::function<absl::Status(absl::string_view data)>& on_event) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_.append(bytes.substr(0, end).data(), bytes.substr(0, end).size());
    if (static_cast<int64_t>(line_.size() + data_.size()) > max_event_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the server sent an event of more than ",
                       max_event_bytes_, " bytes"));
    }
    if (end == absl::string_view::npos) return absl::OkStatus();
    bytes.remove_prefix(end + 1);
    const std::string whole_line = std::exchange(line_, std::string());
    absl::string_view line = absl::StripSuffix(whole_line, "\r");
    if (line.empty()) {
      if (!std::exchange(has_data_, false)) continue;
      const std::string data = std::exchange(data_, std::string());
      CARAVAN_RETURN_IF_ERROR(on_event(data));
    } else if (absl::ConsumePrefix(&line, "data:")) {
      absl::ConsumePrefix(&line, " ");
      if (std::exchange(has_data_, true)) data_.push_back('\n');
      data_.append(line.data(), line.size());
    }
  }
  return absl::OkStatus();
}

}  // namespace caravan::cli
