// The environment of what an agent starts, as a pure function.
#ifndef CARAVAN_WORKER_AGENT_LAUNCH_ENVIRONMENT_H_
#define CARAVAN_WORKER_AGENT_LAUNCH_ENVIRONMENT_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace caravan::worker {

// The agent's own environment without what would steer Open MPI or pass for an
// agent's word (OMPI_*, PMIX_*, ..., and whatever `ours` sets), with `programs`
// before its PATH, followed by `ours` ("NAME=value" each).
std::vector<std::string> LaunchEnvironment(
    absl::Span<const std::string> inherited, absl::string_view programs,
    absl::Span<const std::string> ours);

// This process's environment.
std::vector<std::string> InheritedEnvironment();

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_LAUNCH_ENVIRONMENT_H_
