#include "worker/backend/cuda/step_graphs.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/checked_math.h"
#include "base/log.h"
#include "base/status_macros.h"

namespace caravan::worker::cuda {

int64_t RowsOfGraph(int64_t rows, int64_t most) {
  CARAVAN_CHECK(rows > 0 && rows <= most);
  int64_t rounded = rows;
  if (rows <= 8) {
    rounded = 1;
    while (rounded < rows) rounded *= 2;
  } else {
    // Steps of 8 up to 64, then twice as large with each doubling.
    int64_t step = 8;
    while (step * 8 < rows) step *= 2;
    rounded = RoundUp(rows, step);
  }
  return std::min(rounded, most);
}

int PartsOfGraph(int parts, int most) {
  CARAVAN_CHECK(parts > 0 && parts <= most);
  int64_t rounded = 1;
  while (rounded < parts) rounded *= 2;
  return static_cast<int>(std::min<int64_t>(rounded, most));
}

StepGraphs::StepGraphs(DeviceContext& context, bool enabled)
    : context_(context), enabled_(enabled) {
  context_.SetGraphHolder(this);
}

StepGraphs::~StepGraphs() {
  context_.SetGraphHolder(nullptr);
  if (num_recorded_ == 0) return;
  LogInfo(absl::StrCat("CUDA graphs: recorded=", num_recorded_, " replayed=",
                       num_replayed_, " operations=", operations_replayed_));
}

absl::Status StepGraphs::Run(const StepShape& shape, Enqueue enqueue,
                             AllAgree all_agree) {
  if (!enabled_) return enqueue();
  Known* const known = Find(shape);
  if (known == nullptr) {
    Remember(shape, nullptr);
    return enqueue();
  }
  return known->graph == nullptr ? RecordAndRun(shape, enqueue, all_agree)
                                 : Replay(*known->graph);
}

StepGraphs::Known* StepGraphs::Find(const StepShape& shape) {
  const auto found = std::find_if(
      shapes_.begin(), shapes_.end(),
      [&shape](const Known& known) { return known.shape == shape; });
  if (found == shapes_.end()) return nullptr;
  shapes_.splice(shapes_.begin(), shapes_, found);
  return &shapes_.front();
}

void StepGraphs::Remember(const StepShape& shape,
                          std::unique_ptr<RecordedGraph> graph) {
  shapes_.push_front({shape, std::move(graph)});
  if (shapes_.size() > kMostGraphs) shapes_.pop_back();
}

absl::Status StepGraphs::Replay(RecordedGraph& graph) {
  CARAVAN_RETURN_IF_ERROR(graph.Launch());
  ++num_replayed_;
  operations_replayed_ += graph.num_operations();
  return absl::OkStatus();
}

absl::Status StepGraphs::RecordAndRun(const StepShape& shape, Enqueue enqueue,
                                      AllAgree all_agree) {
  absl::StatusOr<std::unique_ptr<RecordedGraph>> graph =
      RecordedGraph::Record(context_, enqueue);
  CARAVAN_ASSIGN_OR_RETURN(const bool all, all_agree(graph.ok()));
  if (!all) {
    const absl::Status why =
        graph.ok() ? absl::UnavailableError("another rank cannot record them")
                   : graph.status();
    graph = why;  // nothing of it is left when the log tells
    return GiveUp(why, enqueue);
  }
  if (num_recorded_++ == 0) {
    LogInfo(absl::StrCat("replays decode steps as CUDA graphs: rows=",
                         shape.num_rows, " parts=", shape.num_parts,
                         " operations=", (*graph)->num_operations()));
  }
  // What has happened meanwhile may have dropped all that was known.
  if (Known* const known = Find(shape); known != nullptr) {
    known->graph = *std::move(graph);
    return Replay(*known->graph);
  }
  Remember(shape, *std::move(graph));
  return Replay(*shapes_.front().graph);
}

absl::Status StepGraphs::GiveUp(const absl::Status& why, Enqueue enqueue) {
  enabled_ = false;
  DropGraphs();
  LogWarning(
      absl::StrCat("runs decode steps without CUDA graphs: ", why.ToString()));
  return enqueue();
}

}  // namespace caravan::worker::cuda
