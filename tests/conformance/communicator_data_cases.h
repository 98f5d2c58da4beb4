// Cases about what arrives.
#ifndef CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_DATA_CASES_H_
#define CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_DATA_CASES_H_

#include "absl/types/span.h"
#include "tests/conformance/communicator_suite.h"

namespace caravan::testing {

absl::Span<const CommunicatorCase> CommunicatorDataCases();

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_CONFORMANCE_COMMUNICATOR_DATA_CASES_H_
