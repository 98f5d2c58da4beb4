#include "worker/backend/cpu/cpu_backend.h"

#include <string>

#include "gtest/gtest.h"
#include "tests/conformance/backend_suite.h"
#include "tests/support/status_matchers.h"
#include "worker/backend/cpu/instruction_set.h"

namespace caravan::worker {
namespace {

BackendFactory FactoryOf(InstructionSet set) {
  return {std::string(Name(set)), [set](int num_threads) {
            return CreateCpuBackend(
                {.num_threads = num_threads, .instruction_set = set});
          }};
}

CARAVAN_INSTANTIATE_BACKEND_SUITE(
    Cpu, ::testing::Values(FactoryOf(InstructionSet::kPortable),
                           FactoryOf(InstructionSet::kAvx2),
                           FactoryOf(InstructionSet::kAvx512)));

TEST(CpuBackend, RefusesImpossibleThreads) {
  for (int num_threads : {-1, 0, 1 << 20}) {
    EXPECT_THAT(CreateCpuBackend({.num_threads = num_threads}),
                StatusIs(absl::StatusCode::kInvalidArgument));
  }
}

TEST(CpuBackend, HasTheThreadsAskedFor) {
  CARAVAN_ASSERT_OK_AND_ASSIGN(auto backend,
                               CreateCpuBackend({.num_threads = 2}));
  EXPECT_EQ(backend->Info().num_threads, 2);
}

// What the architecture needs of engines on unlike machines.
TEST(CpuBackend, Avx2AndAvx512GiveTheSameBits) {
  if (!CanRun(InstructionSet::kAvx512)) {
    GTEST_SKIP() << "this machine lacks AVX-512";
  }
  const HostMatrix x = RandomMatrix(40, 600, 1);
  const AttentionModel model(3, {0, 0, 0, 0, 1, 2, 2, 2, 2}, 80);
  const HostMatrix rows = RandomMatrix(150, AttentionModel::kHidden, 2);
  const std::vector<int32_t> blocks = ScatteredBlocks(10, 0);
  std::vector<HostMatrix> products;
  std::vector<HostMatrix> attentions;
  for (InstructionSet set : {InstructionSet::kAvx2, InstructionSet::kAvx512}) {
    CARAVAN_ASSERT_OK_AND_ASSIGN(auto backend,
                                 CreateCpuBackend({.instruction_set = set}));
    products.push_back(AllProducts(*backend, x, WeightFormat::kFloat16));
    for (const DType dtype : kCacheDTypes) {
      DeviceAttention attention(*backend, model, dtype);
      attentions.push_back(RunChunks(attention, rows, {150}, blocks));
    }
  }
  EXPECT_THAT(products[1], SameBitsAs(products[0]));
  const size_t each = attentions.size() / 2;
  for (size_t i = 0; i < each; ++i) {
    EXPECT_THAT(attentions[each + i], SameBitsAs(attentions[i]));
  }
}

TEST(CpuBackend, EveryInstructionSetGivesTheSameBitsOfQuantizedWeights) {
  for (WeightFormat format : kQuantizedFormats) {
    const BlockMatrix weight(format, RandomMatrix(77, 1120, 3));
    for (int64_t num_rows : {1, 2, 3, 13, 40}) {
      const HostMatrix x = RandomMatrix(num_rows, 1120, 4);
      std::vector<HostMatrix> results;
      for (InstructionSet set :
           {InstructionSet::kPortable, InstructionSet::kAvx2,
            InstructionSet::kAvx512}) {
        if (!CanRun(set)) continue;
        CARAVAN_ASSERT_OK_AND_ASSIGN(
            auto backend, CreateCpuBackend({.instruction_set = set}));
        CARAVAN_ASSERT_OK_AND_ASSIGN(
            auto loaded, backend->LoadWeight(weight.Reader(), format));
        const DeviceMatrix device_x(*backend, x);
        const DeviceMatrix out(*backend, num_rows, 77);
        CARAVAN_ASSERT_OK(
            backend->Linear(device_x.tensor(), *loaded, nullptr, out.tensor()));
        results.push_back(out.Read());
        EXPECT_THAT(results.back(), SameBitsAs(results[0]))
            << Name(format) << " " << Name(set) << " rows=" << num_rows;
      }
    }
  }
}

}  // namespace
}  // namespace caravan::worker
