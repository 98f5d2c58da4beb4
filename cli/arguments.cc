#include "cli/arguments.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace caravan::cli {
namespace {

struct ShortFlag {
  absl::string_view short_form;
  absl::string_view long_form;
};

constexpr ShortFlag kShortFlags[] = {
    {"-tp", "--tensor-parallel-size"},
    {"-pp", "--pipeline-parallel-size"},
};

std::string Expand(absl::string_view argument) {
  for (const ShortFlag& flag : kShortFlags) {
    absl::string_view rest = argument;
    if (absl::ConsumePrefix(&rest, flag.short_form) &&
        (rest.empty() || rest[0] == '=')) {
      return absl::StrCat(flag.long_form, rest);
    }
  }
  return std::string(argument);
}

}  // namespace

std::vector<std::string> ExpandShortFlags(
    absl::Span<const char* const> arguments) {
  std::vector<std::string> expanded;
  expanded.reserve(arguments.size());
  bool only_operands = false;
  for (const char* argument : arguments) {
    if (absl::string_view(argument) == "--") only_operands = true;
    expanded.push_back(only_operands ? argument : Expand(argument));
  }
  return expanded;
}

}  // namespace caravan::cli
