#include "coordinator/text/jinja_text.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace caravan::coordinator {
namespace {

class Canonicalizer {
 public:
  explicit Canonicalizer(absl::string_view text) : rest_(text) {}

  std::string Run() {
    while (!rest_.empty()) {
      if (absl::StartsWith(rest_, "{%")) {
        StripLineBeforeBlock();
        Tag("%}");
        // trim_blocks
        if (absl::StartsWith(rest_, "\n")) rest_.remove_prefix(1);
      } else if (absl::StartsWith(rest_, "{{")) {
        Tag("}}");
      } else {
        form_.push_back(rest_[0]);
        rest_.remove_prefix(1);
      }
    }
    return form_;
  }

 private:
  // lstrip_blocks: a block tag takes the white space between it and its line's
  // start along.
  void StripLineBeforeBlock() {
    size_t end = form_.size();
    while (end > line_floor_ &&
           (form_[end - 1] == ' ' || form_[end - 1] == '\t')) {
      --end;
    }
    if (end == 0 || form_[end - 1] == '\n' || end == line_start_) {
      form_.resize(end);
    }
  }

  void Tag(absl::string_view end) {
    absl::StrAppend(&form_, rest_.substr(0, 2));
    rest_.remove_prefix(2);
    while (!rest_.empty() && !absl::StartsWith(rest_, end)) {
      if (rest_[0] == '\'' || rest_[0] == '"') {
        String();
        continue;
      }
      if (!absl::ascii_isspace(rest_[0])) form_.push_back(rest_[0]);
      rest_.remove_prefix(1);
    }
    absl::StrAppend(&form_, rest_.substr(0, end.size()));
    rest_.remove_prefix(std::min(rest_.size(), end.size()));
    line_floor_ = form_.size();
    line_start_ = end == "%}" && absl::StartsWith(rest_, "\n") ? form_.size()
                                                               : form_.npos;
  }

  void String() {
    const char quote = rest_[0];
    form_.push_back('"');
    rest_.remove_prefix(1);
    while (!rest_.empty() && rest_[0] != quote) {
      if (rest_[0] == '\\' && rest_.size() > 1) {
        Escape(rest_[1]);
        rest_.remove_prefix(2);
        continue;
      }
      // Told apart from the end that '"' is here.
      if (rest_[0] == '"') form_.push_back('\\');
      form_.push_back(rest_[0]);
      rest_.remove_prefix(1);
    }
    form_.push_back('"');
    if (!rest_.empty()) rest_.remove_prefix(1);
  }

  void Escape(char escaped) {
    if (escaped == 'n') {
      form_.push_back('\n');
    } else if (escaped == '\'') {
      form_.push_back('\'');
    } else {
      absl::StrAppend(&form_, "\\", std::string(1, escaped));
    }
  }

  absl::string_view rest_;
  std::string form_;
  size_t line_floor_ = 0;  // end of the last tag
  // Where a line began because trim_blocks took its line break.
  size_t line_start_ = std::string::npos;
};

}  // namespace

std::string CanonicalJinja(absl::string_view text) {
  // Jinja reads CRLF as LF and drops one line break at the end.
  std::string lines = absl::StrReplaceAll(text, {{"\r\n", "\n"}});
  if (absl::EndsWith(lines, "\n")) lines.pop_back();
  return Canonicalizer(lines).Run();
}

}  // namespace caravan::coordinator
