#include "worker/backend/cuda/cuda_backend.h"

#include "gtest/gtest.h"
#include "tests/conformance/backend_suite.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/cpu_backend.h"

namespace caravan::worker {
namespace {

// The number of threads is the CPU's. With bfloat16 weights x is held in two
// bfloat16, 2^-17 from what it is.
BackendFactory Factory() {
  return {
      .name = "gpu",
      .make =
          [](int) {
            return CreateCudaBackend(CudaBackendOptions{.deterministic = true});
          },
      .bfloat16_tolerance = 0x1p-17 + 1e-6};
}

CARAVAN_INSTANTIATE_BACKEND_SUITE(Cuda, ::testing::Values(Factory()));

// Up to a block per part of the inputs, blocks are added up in the CPU's order.
// Elsewhere that differs, and nothing else does.
TEST(CudaBackend, QuantizedProductsAreThoseOfTheCpu) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto cpu, CreateCpuBackend({}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto gpu,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  for (const WeightFormat format : kQuantizedFormats) {
    for (const int64_t num_rows : {1, 3, 19}) {
      const BlockMatrix weight(format, RandomMatrix(75, 256, 1));
      const HostMatrix x = RandomMatrix(num_rows, 256, 2);
      std::vector<HostMatrix> results;
      for (Backend* backend : {cpu.get(), gpu.get()}) {
        CARAVAN_ASSERT_OK_AND_ASSIGN(
            const auto loaded, backend->LoadWeight(weight.Reader(), format));
        const DeviceMatrix device_x(*backend, x);
        const DeviceMatrix out(*backend, num_rows, 75);
        CARAVAN_ASSERT_OK(
            backend->Linear(device_x.tensor(), *loaded, nullptr, out.tensor()));
        results.push_back(out.Read());
      }
      EXPECT_THAT(results[1], SameBitsAs(results[0]))
          << Name(format) << " rows=" << num_rows;
    }
  }
}

TEST(CudaBackend, RefusesHeadsThatItsKernelsCannotHold) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto gpu,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  EXPECT_THAT(gpu->CreateKvCache({.num_layers = 1,
                                  .num_blocks = 1,
                                  .num_kv_heads = 1,
                                  .head_dim = 258}),
              testing::StatusIs(absl::StatusCode::kInvalidArgument,
                                ::testing::HasSubstr("most=256")));
}

TEST(CudaBackend, WhatIsTakenIsNoLongerFree) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto gpu,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  const int64_t before = gpu->Info().free_bytes.value_or(-1);
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto memory, gpu->Allocate(64 << 20));
  EXPECT_EQ(gpu->Info().free_bytes.value_or(-1), before - (64 << 20));
}

TEST(CudaBackend, RefusesAGpuThatIsNotThere) {
  for (const int device : {-1, 99}) {
    EXPECT_THAT(CreateCudaBackend(CudaBackendOptions{.device = device}),
                testing::StatusIs(absl::StatusCode::kFailedPrecondition,
                                  ::testing::HasSubstr("nvidia-smi -L")));
  }
}

}  // namespace
}  // namespace caravan::worker
