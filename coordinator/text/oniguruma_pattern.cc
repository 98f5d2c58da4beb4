#include "coordinator/text/oniguruma_pattern.h"

#include <cstddef>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace caravan::coordinator {
namespace {

// Unicode's White_Space, which Oniguruma's \s is. PCRE2's own has U+180E too.
constexpr absl::string_view kWhiteSpace =
    R"(\t-\r\x20\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

absl::Status Differs(absl::string_view what) {
  return absl::UnimplementedError(absl::StrCat(
      "pattern with ", what, ", which Oniguruma and PCRE2 take differently"));
}

class Translator {
 public:
  explicit Translator(absl::string_view pattern) : rest_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (!rest_.empty()) CARAVAN_RETURN_IF_ERROR(Step());
    return translated_;
  }

 private:
  absl::Status Step() {
    if (rest_[0] == '\\' && rest_.size() > 1) return Escape();
    if (in_class_) return InClass();
    // Lines' ends in Oniguruma's syntax, the text's in PCRE2's.
    if (rest_[0] == '^' || rest_[0] == '$') return Differs("an anchor ^ or $");
    // Not possessive in Oniguruma's syntax.
    if (absl::StartsWith(rest_, "}+")) return Differs("{n,m}+");
    if (rest_[0] == '[') {
      in_class_ = true;
      Take(1);
      if (absl::StartsWith(rest_, "^")) Take(1);
      if (absl::StartsWith(rest_, "]")) return Differs("[] in a class");
      return absl::OkStatus();
    }
    Take(1);
    return absl::OkStatus();
  }

  absl::Status InClass() {
    if (rest_[0] == '[') return Differs("a class within a class");
    if (absl::StartsWith(rest_, "&&")) return Differs("&& in a class");
    if (rest_[0] == ']') in_class_ = false;
    Take(1);
    return absl::OkStatus();
  }

  absl::Status Escape() {
    const char escaped = rest_[1];
    if (escaped == 's' || escaped == 'S') return WhiteSpace(escaped == 'S');
    if (absl::string_view("pPx").find(escaped) != absl::string_view::npos) {
      return Braced();
    }
    const bool same =
        absl::ascii_ispunct(escaped) ||
        absl::string_view("rntfvdD").find(escaped) != absl::string_view::npos;
    if (!same) return Differs(absl::StrCat("\\", rest_.substr(1, 1)));
    Take(2);
    return absl::OkStatus();
  }

  // \p{L}, \x{2581}
  absl::Status Braced() {
    const size_t end = rest_.find('}');
    if (rest_.size() < 3 || rest_[2] != '{' || end == rest_.npos) {
      return Differs(absl::StrCat("\\", rest_.substr(1, 1), " without braces"));
    }
    Take(end + 1);
    return absl::OkStatus();
  }

  absl::Status WhiteSpace(bool negated) {
    if (in_class_ && negated) return Differs("\\S in a class");
    absl::StrAppend(&translated_, in_class_ ? "" : (negated ? "[^" : "["),
                    kWhiteSpace, in_class_ ? "" : "]");
    rest_.remove_prefix(2);
    return absl::OkStatus();
  }

  void Take(size_t count) {
    absl::StrAppend(&translated_, rest_.substr(0, count));
    rest_.remove_prefix(count);
  }

  absl::string_view rest_;
  std::string translated_;
  bool in_class_ = false;
};

}  // namespace

absl::StatusOr<std::string> Pcre2FromOniguruma(absl::string_view pattern) {
  return Translator(pattern).Run();
}

}  // namespace caravan::coordinator
