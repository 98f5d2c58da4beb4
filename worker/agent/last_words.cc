#include "worker/agent/last_words.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace caravan::worker {
namespace {

constexpr size_t kMaxLines = 20;
constexpr size_t kMaxLineBytes = 512;

}  // namespace

void LastWords::Append(absl::string_view text) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    // The rest of a line that is too long is dropped, not made a line.
    const size_t room = kMaxLineBytes - open_line_.size();
    absl::StrAppend(&open_line_, text.substr(0, std::min(end, room)));
    if (end == text.size()) return;
    EndLine();
    text.remove_prefix(end + 1);
  }
}

void LastWords::Finish() {
  if (!open_line_.empty()) EndLine();
}

void LastWords::EndLine() {
  if (on_line_) on_line_(open_line_);
  lines_.push_back(std::move(open_line_));
  open_line_.clear();
  if (lines_.size() > kMaxLines) lines_.pop_front();
}

std::string LastWords::Text() const {
  std::string text;
  for (const std::string& line : lines_) absl::StrAppend(&text, line, "\n");
  return text;
}

}  // namespace caravan::worker
