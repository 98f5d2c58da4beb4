// Models and devices to plan for.
#ifndef CARAVAN_TESTS_PARTITION_PLAN_PLAN_CASES_H_
#define CARAVAN_TESTS_PARTITION_PLAN_PLAN_CASES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "partition/model/named_models.h"
#include "partition/plan/plan.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {

inline constexpr int64_t kGiB = int64_t{1} << 30;

inline ModelSpec Named(absl::string_view name) {
  auto spec = NamedModelSpec(name);
  EXPECT_THAT(spec, ::caravan::testing::IsOk());
  return *spec;
}

inline std::vector<DeviceSpec> Devices(int count, int64_t memory_bytes) {
  std::vector<DeviceSpec> devices;
  for (int i = 0; i < count; ++i) {
    devices.push_back({.node = "node-" + std::to_string(i),
                       .name = "cpu",
                       .memory_bytes = memory_bytes});
  }
  return devices;
}

}  // namespace caravan::partition

#endif  // CARAVAN_TESTS_PARTITION_PLAN_PLAN_CASES_H_
