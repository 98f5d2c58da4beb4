#include "worker/backend/cuda/cuda_backend.h"

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

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
                    CudaBackendOptions{.least_library_rows = kLibraryRows});
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
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto librarys,
                               CreateCudaBackend(CudaBackendOptions{
                                   .least_library_rows = kLibraryRows}));
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

// A prompt, one that goes on, and a token beside them.
struct PromptBatch {
  static constexpr int64_t kBefore = 37;

  HostMatrix Run(Backend& backend, const AttentionModel& model,
                 DType dtype) const {
    DeviceAttention attention(backend, model, dtype);
    RunChunks(attention, before, {10, 27}, blocks[1]);
    RunChunks(attention, before, {kBefore}, blocks[2]);
    const Batch batch = {{{0, 70, 0, blocks[0]},
                          {70, 21, kBefore, blocks[1]},
                          {91, 1, kBefore, blocks[2]}},
                         92};
    return attention.Step(x, batch);
  }

  const HostMatrix before = RandomMatrix(kBefore, AttentionModel::kHidden, 31);
  const HostMatrix x = RandomMatrix(92, AttentionModel::kHidden, 32);
  const std::vector<int32_t> blocks[3] = {
      ScatteredBlocks(5, 0), ScatteredBlocks(4, 17), ScatteredBlocks(3, 40)};
};

double LargestDifference(const HostMatrix& a, const HostMatrix& b) {
  double largest = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    // Written so that NaN is the largest.
    const double difference = std::abs(a.values[i] - b.values[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

// Queries and weights are rounded to the cache's type, which has 11 or 8 bits:
// a score of 4 is then off by up to 4 * 2^-11 or 2^-8 and so, in proportion, is
// the weight of values of up to 6.
TEST(CudaBackend, PromptsOnTensorCoresAreNearTheCpu) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto cpu, CreateCpuBackend({}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto gpu,
                               CreateCudaBackend(CudaBackendOptions{}));
  const PromptBatch batch;
  for (const AttentionModel& model :
       {AttentionModel(2, {0, 1}, 64), AttentionModel(1, {0, 0, 0}, 80),
        AttentionModel(2, {0, 0, 0, 1, 1, 1, 1, 1}, 128)}) {
    for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
      EXPECT_LT(LargestDifference(batch.Run(*gpu, model, dtype),
                                  batch.Run(*cpu, model, dtype)),
                dtype == DType::kFloat16 ? 0.01 : 0.08)
          << Name(dtype) << " head_dim=" << model.shape.head_dim;
    }
  }
}

TEST(CudaBackend, DeterministicOrOtherwiseOnlyPromptsDiffer) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(const auto gpu,
                               CreateCudaBackend(CudaBackendOptions{}));
  CARAVAN_ASSERT_OK_AND_ASSIGN(
      const auto deterministic,
      CreateCudaBackend(CudaBackendOptions{.deterministic = true}));
  const PromptBatch batch;
  const AttentionModel model(2, {0, 0, 1}, 64);
  const HostMatrix prompts = batch.Run(*gpu, model, DType::kFloat16);
  const HostMatrix expected = batch.Run(*deterministic, model, DType::kFloat16);
  EXPECT_THAT(prompts.Rows(0, 70),
              ::testing::Not(SameBitsAs(expected.Rows(0, 70))));
  EXPECT_THAT(prompts.Rows(70, 21),
              ::testing::Not(SameBitsAs(expected.Rows(70, 21))));
  EXPECT_THAT(prompts.Rows(91, 1), SameBitsAs(expected.Rows(91, 1)));
  // There is no kernel for these.
  EXPECT_THAT(batch.Run(*gpu, model, DType::kFloat32),
              SameBitsAs(batch.Run(*deterministic, model, DType::kFloat32)));
  const AttentionModel odd(1, {0, 0}, 48);
  EXPECT_THAT(batch.Run(*gpu, odd, DType::kFloat16),
              SameBitsAs(batch.Run(*deterministic, odd, DType::kFloat16)));
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
