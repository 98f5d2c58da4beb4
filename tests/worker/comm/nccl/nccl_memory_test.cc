// What groups take of their GPUs, here the emulated ones, against the plan; and
// that calls within a group's limits take nothing more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "base/status_macros.h"
#include "partition/plan/gpu_memory.h"
#include "tests/conformance/communicator_case_support.h"
#include "tests/emulated_device/control.h"
#include "tests/support/status_matchers.h"
#include "tests/worker/comm/nccl/nccl_test_ranks.h"
#include "worker/backend/cuda/device_memory.h"

namespace caravan::worker {
namespace {

using ::caravan::testing::Barrier;
using ::caravan::testing::GroupOfAll;
using emulated::AllocatedBytes;
using partition::PlanOptions;

// NCCL's own part, which is assumed and which the emulation does not take.
constexpr int64_t kNcclGroupBytes = int64_t{256} << 20;

int64_t PlannedBytes(const PlanOptions& options, int64_t hidden_size) {
  return partition::GpuCommunicationBytes({.hidden_size = hidden_size},
                                          options) -
         kNcclGroupBytes;
}

// A group of all ranks with these limits, of which some are used.
absl::Status CheckGroup(NcclTestRank& self, GroupOptions options,
                        int64_t planned) {
  const int rank = self.world->rank();
  for (int i = 0; i < self.world->size(); ++i) options.world_ranks.push_back(i);
  const int64_t before = AllocatedBytes(rank);
  CARAVAN_ASSIGN_OR_RETURN(auto group, self.world->CreateGroup(options));
  EXPECT_EQ(AllocatedBytes(rank) - before, planned) << "rank " << rank;

  const int64_t most = std::max(options.most_values, options.most_sent_values);
  CARAVAN_ASSIGN_OR_RETURN(
      cuda::DeviceMemory memory,
      cuda::DeviceMemory::Create(most * static_cast<int64_t>(sizeof(float))));
  CARAVAN_RETURN_IF_ERROR(Barrier(*group));
  const emulated::MemoryCalls calls = emulated::MemoryCallsMade();
  for (const int64_t count : {most, most / 2, int64_t{3}}) {
    const Tensor tensor = {memory.data(), DType::kFloat32, 1, count};
    if (options.most_values > 0) {
      CARAVAN_RETURN_IF_ERROR(group->AllReduceSum(tensor));
    } else if (rank == 0) {
      CARAVAN_RETURN_IF_ERROR(group->SendTensor(tensor, 1));
    } else if (rank == 1) {
      CARAVAN_RETURN_IF_ERROR(group->RecvTensor(tensor, 0));
    }
  }
  CARAVAN_RETURN_IF_ERROR(self.context->Wait());
  CARAVAN_RETURN_IF_ERROR(Barrier(*group));
  EXPECT_EQ(emulated::MemoryCallsMade(), calls) << "a call allocated";
  return Barrier(*group);
}

TEST(NcclMemoryTest, TensorGroupsTakeWhatThePlanSays) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    for (const int size : {2, 3, 4}) {
      // At once; at once in bfloat16 only; by chunks.
      for (const int64_t rows : {15, 40, 200}) {
        SCOPED_TRACE(::testing::Message()
                     << Name(dtype) << " " << size << " ranks " << rows);
        const int64_t planned = PlannedBytes(
            {.tp = size, .activation_dtype = dtype, .max_rows_per_step = rows},
            2048);
        for (const absl::Status& status :
             RunNcclRanks(size, [&](NcclTestRank& self) {
               return CheckGroup(self,
                                 {.name = "tp0",
                                  .wire_dtype = dtype,
                                  .most_values = rows * 2048},
                                 planned);
             })) {
          CARAVAN_EXPECT_OK(status);
        }
      }
    }
  }
}

TEST(NcclMemoryTest, PipelineGroupsTakeWhatThePlanSays) {
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const int64_t planned = PlannedBytes(
        {.pp = 2, .activation_dtype = dtype, .max_rows_per_step = 50}, 100);
    EXPECT_EQ(planned, dtype == DType::kFloat32 ? 0 : 50 * 100 * 2);
    for (const absl::Status& status : RunNcclRanks(2, [&](NcclTestRank& self) {
           return CheckGroup(self,
                             {.name = "pp0",
                              .wire_dtype = dtype,
                              .most_sent_values = 50 * 100},
                             planned);
         })) {
      CARAVAN_EXPECT_OK(status);
    }
  }
}

}  // namespace
}  // namespace caravan::worker
