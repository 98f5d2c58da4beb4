// Memory that operations use while they run, made when weights and caches are.
#ifndef CARAVAN_WORKER_BACKEND_CPU_SCRATCH_H_
#define CARAVAN_WORKER_BACKEND_CPU_SCRATCH_H_

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "worker/backend/cpu/huge_memory.h"

namespace caravan::worker {

// Addresses are reserved when a weight is loaded; pages are taken at first use.
// One thread makes it; pool thread i uses Thread(i).
class Scratch final {
 public:
  explicit Scratch(int num_threads) : threads_(num_threads) {}

  // Makes room for products with a (rows, cols) weight.
  absl::Status ReserveWeight(int64_t rows, int64_t cols);
  // Makes room for attention.
  absl::Status ReserveHeads(int64_t head_dim);

  // (kMostRows, cols of the widest weight)
  float* normed() const { return normed_.floats(); }
  // Likewise, in the order of PackRows.
  float* packed() const { return packed_.floats(); }
  // (kMostRows, rows of the highest weight)
  float* product() const { return product_.floats(); }
  float* Thread(int thread) const { return threads_[thread].floats(); }

 private:
  HugeMemory normed_;
  HugeMemory packed_;
  HugeMemory product_;
  std::vector<HugeMemory> threads_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_BACKEND_CPU_SCRATCH_H_
