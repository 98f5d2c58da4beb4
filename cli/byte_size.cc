#include "cli/byte_size.h"

#include <cmath>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace caravan::cli {
namespace {

struct Unit {
  absl::string_view name;
  double bytes;
};

constexpr Unit kUnits[] = {
    {"", 1},         {"b", 1},        {"kb", 1e3},     {"mb", 1e6},
    {"gb", 1e9},     {"tb", 1e12},    {"kib", 0x1p10}, {"mib", 0x1p20},
    {"gib", 0x1p30}, {"tib", 0x1p40},
};

absl::Status Refuse(absl::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat("not an amount of memory: \"", text,
                   "\"; write for example 24GiB, 24GB, 512MiB or a number of "
                   "bytes"));
}

}  // namespace

absl::StatusOr<int64_t> ParseByteSize(absl::string_view text) {
  const size_t num_digits = text.find_first_not_of("0123456789.");
  const absl::string_view number = text.substr(0, num_digits);
  const std::string unit = absl::AsciiStrToLower(absl::StripAsciiWhitespace(
      num_digits == absl::string_view::npos ? "" : text.substr(num_digits)));
  double value = 0;
  if (!absl::SimpleAtod(number, &value)) return Refuse(text);
  for (const Unit& known : kUnits) {
    if (unit != known.name) continue;
    const double bytes = std::floor(value * known.bytes);
    // From here on int64_t does not hold it.
    if (!(bytes < 0x1p63)) return Refuse(text);
    return static_cast<int64_t>(bytes);
  }
  return Refuse(text);
}

}  // namespace caravan::cli
