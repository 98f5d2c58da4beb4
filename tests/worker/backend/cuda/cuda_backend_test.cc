#include "worker/backend/cuda/cuda_backend.h"

#include <cmath>
#include <cstdint>
#include <utility>

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

// Products of many rows with weights of 16 bits are a library's, whose rows of
// x are rounded once; nothing else differs, and few rows' products do not.
constexpr int64_t kLibraryRows = 65;
BackendFactory LibraryFactory() {
  return {.name = "gpu_with_library",
          .make =
              [](int) {
                return CreateCudaBackend(
                    CudaBackendOptions{.library_rows = kLibraryRows});
              },
          .bfloat16_tolerance = 0x1p-8 + 1e-6,
          .float16_tolerance = 0x1p-11 + 1e-6,
          .most_invariant_rows = kLibraryRows - 1};
}

INSTANTIATE_TEST_SUITE_P(CudaLibrary, BackendProducts,
                         ::testing::Values(LibraryFactory()), FactoryName);

// How far two results are apart, over the size of the second.
double Difference(const HostMatrix& a, const HostMatrix& b) {
  double difference = 0;
  double size = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    difference += std::pow(double{a.values[i]} - b.values[i], 2);
    size += std::pow(double{b.values[i]}, 2);
  }
  return std::sqrt(difference / size);
}

// Odd numbers of inputs and rows, and more rows than are multiplied at a time.
TEST(CudaBackend, TheLibrarysProductsAreOursButForRounding) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto ours,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto librarys,
      CreateCudaBackend(CudaBackendOptions{.library_rows = kLibraryRows}));
  for (Backend* backend : {ours.get(), librarys.get()}) {
    StepLimits limits = SuiteLimits();
    limits.max_logit_rows = 530;
    CARAVAN_ASSERT_OK(backend->Reserve(limits));
  }
  for (const WeightFormat format :
       {WeightFormat::kFloat16, WeightFormat::kBFloat16}) {
    const double rounding =
        format == WeightFormat::kBFloat16 ? 0x1p-8 : 0x1p-11;
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{64, 40}, {65, 41}, {99, 8}, {530, 24}}) {
      SCOPED_TRACE(::testing::Message()
                   << Name(format) << " rows=" << rows << " cols=" << cols);
      const HostMatrix x = RandomMatrix(rows, cols, 3);
      const HostMatrix wanted = AllProducts(*ours, x, format);
      const HostMatrix got = AllProducts(*librarys, x, format);
      if (rows < kLibraryRows) {
        EXPECT_THAT(got, SameBitsAs(wanted));
        continue;
      }
      EXPECT_LT(Difference(got, wanted), rounding);
    }
  }
}

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
