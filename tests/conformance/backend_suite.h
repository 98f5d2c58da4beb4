// The conformance suite of Backend. A backend is registered in one line:
//
//   CARAVAN_INSTANTIATE_BACKEND_SUITE(Cpu, ::testing::Values(factory, ...));
#ifndef CARAVAN_TESTS_CONFORMANCE_BACKEND_SUITE_H_
#define CARAVAN_TESTS_CONFORMANCE_BACKEND_SUITE_H_

#include "tests/conformance/backend_attention_suite.h"
#include "tests/conformance/backend_choice_suite.h"
#include "tests/conformance/backend_fixture.h"
#include "tests/conformance/backend_memory_suite.h"
#include "tests/conformance/backend_products_suite.h"
#include "tests/conformance/backend_quantized_suite.h"
#include "tests/conformance/backend_sampling_suite.h"
#include "tests/conformance/backend_steps_suite.h"

namespace caravan::worker {

inline std::string FactoryName(
    const ::testing::TestParamInfo<BackendFactory>& info) {
  return info.param.name;
}

#define CARAVAN_INSTANTIATE_BACKEND_SUITE(prefix, ...)                         \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendMemory, __VA_ARGS__, FactoryName);   \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendProducts, __VA_ARGS__, FactoryName); \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendQuantized, __VA_ARGS__,              \
                           FactoryName);                                       \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendAttention, __VA_ARGS__,              \
                           FactoryName);                                       \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendSampling, __VA_ARGS__, FactoryName); \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendChoice, __VA_ARGS__, FactoryName);   \
  INSTANTIATE_TEST_SUITE_P(prefix, BackendSteps, __VA_ARGS__, FactoryName)

}  // namespace caravan::worker

#endif  // CARAVAN_TESTS_CONFORMANCE_BACKEND_SUITE_H_
