// The command line before CLI11 sees it.
#ifndef CARAVAN_CLI_ARGUMENTS_H_
#define CARAVAN_CLI_ARGUMENTS_H_

#include <string>
#include <vector>

#include "absl/types/span.h"

namespace caravan::cli {

// Writes vLLM's one-dash flags of several letters out ("-tp 2" and "-tp=2"
// become "--tensor-parallel-size 2" and "...=2"): CLI11 would read them as
// "-t p". Arguments after "--" stay as they are.
std::vector<std::string> ExpandShortFlags(
    absl::Span<const char* const> arguments);

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_ARGUMENTS_H_
