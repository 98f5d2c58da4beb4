// Amounts of memory as people write them.
#ifndef CARAVAN_CLI_BYTE_SIZE_H_
#define CARAVAN_CLI_BYTE_SIZE_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan::cli {

// "24GiB", "1.5 GB", "512MiB", "4096": a number of at least 0 and a unit: none
// or B for bytes; kB, MB, GB, TB (powers of 1000); KiB, MiB, GiB, TiB (powers
// of 1024). Upper and lower case are the same. Fractions of a byte are cut off.
// kInvalidArgument: anything else, "24G" included, which people read both ways.
absl::StatusOr<int64_t> ParseByteSize(absl::string_view text);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_BYTE_SIZE_H_
