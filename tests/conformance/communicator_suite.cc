#include "tests/conformance/communicator_suite.h"

#include <vector>

#include "base/status_macros.h"
#include "tests/conformance/communicator_case_support.h"
#include "tests/conformance/communicator_data_cases.h"
#include "tests/conformance/communicator_failure_cases.h"

namespace caravan::testing {

absl::Span<const CommunicatorCase> CommunicatorCases() {
  static const auto* cases = [] {
    auto* all = new std::vector<CommunicatorCase>;
    for (const auto& part :
         {CommunicatorDataCases(), CommunicatorFailureCases()}) {
      all->insert(all->end(), part.begin(), part.end());
    }
    return all;
  }();
  return *cases;
}

absl::Status RunCommunicatorCase(const CommunicatorCase& communicator_case,
                                 worker::World& world) {
  if (world.size() < communicator_case.least_ranks) return absl::OkStatus();
  CARAVAN_ASSIGN_OR_RETURN(auto control, GroupOfAll(world, "control"));
  const absl::Status status =
      Annotate(communicator_case.run(world),
               absl::StrCat(communicator_case.name, " on rank ", world.rank(),
                            " of ", world.size()));
  const std::byte mine{status.ok()};
  std::vector<std::byte> all(world.size());
  const absl::Status met =
      control->AllGather(absl::MakeConstSpan(&mine, 1), absl::MakeSpan(all));
  if (!status.ok()) return status;
  if (!met.ok()) return Annotate(met, communicator_case.name);
  for (int rank = 0; rank < world.size(); ++rank) {
    CARAVAN_CASE_EXPECT(all[rank] == std::byte{1}, ": ", communicator_case.name,
                        " failed on rank ", rank);
  }
  return absl::OkStatus();
}

}  // namespace caravan::testing
