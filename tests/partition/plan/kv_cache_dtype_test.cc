#include "partition/plan/kv_cache_dtype.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/status_matchers.h"

namespace caravan::partition {
namespace {

using ::caravan::testing::IsOkAndHolds;
using ::caravan::testing::StatusIs;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::Optional;

TEST(KvCacheDTypeTest, IsKnownByName) {
  EXPECT_THAT(ParseKvCacheDType("auto"), IsOkAndHolds(Eq(std::nullopt)));
  EXPECT_THAT(ParseKvCacheDType("float32"),
              IsOkAndHolds(Optional(DType::kFloat32)));
  EXPECT_THAT(ParseKvCacheDType("float16"),
              IsOkAndHolds(Optional(DType::kFloat16)));
  EXPECT_THAT(ParseKvCacheDType("bfloat16"),
              IsOkAndHolds(Optional(DType::kBFloat16)));
  for (const char* name : {"", "fp8", "AUTO"}) {
    EXPECT_THAT(ParseKvCacheDType(name),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         HasSubstr("--kv-cache-dtype must be auto, float32")))
        << name;
  }
}

TEST(KvCacheDTypeTest, UnaskedItIsTheDevicesAndTheCheckpoints) {
  ModelSpec spec;
  for (const DType dtype :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
    spec.dtype = dtype;
    EXPECT_EQ(KvCacheDType(std::nullopt, spec, DeviceKind::kCpu),
              DType::kFloat32);
    EXPECT_EQ(KvCacheDType(std::nullopt, spec, DeviceKind::kGpu),
              dtype == DType::kBFloat16 ? DType::kBFloat16 : DType::kFloat16);
    for (const DType asked :
         {DType::kFloat32, DType::kFloat16, DType::kBFloat16}) {
      EXPECT_EQ(KvCacheDType(asked, spec, DeviceKind::kCpu), asked);
      EXPECT_EQ(KvCacheDType(asked, spec, DeviceKind::kGpu), asked);
    }
  }
}

}  // namespace
}  // namespace caravan::partition
