// What every kind of communicator must do, as cases that all ranks of a world
// run together.
#ifndef CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_SUITE_H_

#include <ostream>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "worker/comm/communicator.h"

namespace caravan::testing {

// Each rank calls `run` with its own world; an error says which expectation
// failed. A case makes its own groups and leaves the world fit for the next
// one, also when it breaks groups on purpose.
struct CommunicatorCase {
  absl::string_view name;
  int least_ranks;
  absl::Status (*run)(worker::World& world);
};

inline std::ostream& operator<<(std::ostream& out,
                                const CommunicatorCase& test) {
  return out << test.name;
}

// All cases, in a fixed order.
absl::Span<const CommunicatorCase> CommunicatorCases();

// Runs one case, then waits until all ranks have; the error of any rank is an
// error on each. A world with too few ranks for the case passes.
absl::Status RunCommunicatorCase(const CommunicatorCase& communicator_case,
                                 worker::World& world);

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_SUITE_H_
