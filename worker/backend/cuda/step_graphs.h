// Which steps are replayed as graphs, and the graphs.
#ifndef CARAVAN_WORKER_BACKEND_CUDA_STEP_GRAPHS_H_
#define CARAVAN_WORKER_BACKEND_CUDA_STEP_GRAPHS_H_

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend/cuda/device_context.h"
#include "worker/backend/cuda/recorded_graph.h"

namespace caravan::worker::cuda {

// Steps of more rows are not recorded: their kernels take longer than the host
// needs to enqueue them.
constexpr int64_t kMostGraphRows = 512;

// A ladder of sizes, so that few graphs serve all steps. Rows: 1, 2, 4, then
// multiples of 8, above 64 of 16, above 128 of 32, above 256 of 64; at most
// `most`, which is not less than `rows`.
int64_t RowsOfGraph(int64_t rows, int64_t most);
// Parts of contexts: powers of two, likewise.
int PartsOfGraph(int parts, int most);

// All that the arguments of a step's kernels depend on, but for the contents of
// memory.
struct StepShape {
  const void* owner = nullptr;  // StepWork::owner
  int64_t num_rows = 0;         // with padding
  int num_parts = 0;            // of the longest context, as it is rounded
  bool embeds = false;          // tokens
  bool chooses = false;         // for all rows
  bool operator==(const StepShape&) const = default;
};

// A shape's first step runs operation by operation, which also lets NCCL make
// its connections outside of a recording; its second one is recorded, and all
// after it are replayed. The shape that is longest out of use makes room for a
// new one. What is done depends on the sequence of shapes alone: it is the same
// on all ranks, as NCCL wants it.
//
// One thread, the context's.
class StepGraphs final : public GraphHolder {
 public:
  // partition/plan/gpu_memory.cc plans memory for as many.
  static constexpr size_t kMostGraphs = 64;

  explicit StepGraphs(DeviceContext& context, bool enabled);
  ~StepGraphs() override;
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // False: steps run operation by operation, for good.
  bool enabled() const { return enabled_; }

  using Enqueue = absl::FunctionRef<absl::Status()>;
  using AllAgree = absl::FunctionRef<absl::StatusOr<bool>(bool)>;
  // Runs a step. Where recording fails on a rank, all run this step, and all
  // after it, operation by operation; the log says so. `enqueue` is called at
  // most twice.
  absl::Status Run(const StepShape& shape, Enqueue enqueue, AllAgree all_agree);

  // Before memory that kernels have as arguments is given back, too.
  void DropGraphs() override { shapes_.clear(); }

  int64_t num_recorded() const { return num_recorded_; }
  int64_t num_replayed() const { return num_replayed_; }

 private:
  struct Known {
    StepShape shape;
    std::unique_ptr<RecordedGraph> graph;  // null: seen once
  };
  // The shape's place, in front; null: it is new.
  Known* Find(const StepShape& shape);
  void Remember(const StepShape& shape, std::unique_ptr<RecordedGraph> graph);
  absl::Status Replay(RecordedGraph& graph);
  absl::Status RecordAndRun(const StepShape& shape, Enqueue enqueue,
                            AllAgree all_agree);
  absl::Status GiveUp(const absl::Status& why, Enqueue enqueue);

  DeviceContext& context_;
  bool enabled_;
  std::list<Known> shapes_;  // used last in front
  int64_t num_recorded_ = 0;
  int64_t num_replayed_ = 0;
  int64_t operations_replayed_ = 0;
};

}  // namespace caravan::worker::cuda

#endif  // CARAVAN_WORKER_BACKEND_CUDA_STEP_GRAPHS_H_
