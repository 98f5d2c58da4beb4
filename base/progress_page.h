// How far an engine is: a small file mapped by the engine (writer) and its
// agent (reader). The agent's word on "who is stuck, where" comes from here
// alone.
#ifndef CARAVAN_BASE_PROGRESS_PAGE_H_
#define CARAVAN_BASE_PROGRESS_PAGE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace caravan {

enum class EnginePhase : uint32_t {
  kStarting,
  kLoading,
  kIdle,     // blocked until the next step comes
  kReceive,  // waits for activations or ids of another stage
  kCompute,
  kReduce,  // waits for the other tensor-parallel ranks
  kSend,
  kSample,
};
absl::string_view Name(EnginePhase phase);

struct EngineProgressSnapshot {
  uint64_t replica = 0;
  uint64_t epoch = 0;
  int32_t rank = -1;
  int64_t pid = 0;
  uint64_t step = 0;
  EnginePhase phase = EnginePhase::kStarting;
  uint64_t ticks = 0;
};

// The engine's side. All setters are wait-free and may be called from any
// thread; the file stays when the writer goes.
class ProgressWriter final {
 public:
  // Makes `<folder>/<pid>.progress`.
  static absl::StatusOr<std::unique_ptr<ProgressWriter>> Create(
      absl::string_view folder, uint64_t replica, uint64_t epoch, int rank);
  ~ProgressWriter();
  ProgressWriter(const ProgressWriter&) = delete;
  ProgressWriter& operator=(const ProgressWriter&) = delete;

  void SetStep(uint64_t step);
  void SetPhase(EnginePhase phase);  // ticks too
  void Tick();

 private:
  explicit ProgressWriter(void* page) : page_(page) {}
  void* page_;
};

// The agent's side: one look at one file. kNotFound: no such file; kDataLoss:
// not a progress page.
absl::StatusOr<EngineProgressSnapshot> ReadProgress(absl::string_view path);

}  // namespace caravan

#endif  // CARAVAN_BASE_PROGRESS_PAGE_H_
