// How fast this machine could run a model at best.
#ifndef CARAVAN_CLI_MACHINE_LIMIT_H_
#define CARAVAN_CLI_MACHINE_LIMIT_H_

#include "absl/status/statusor.h"
#include "cli/model_bench.h"
#include "partition/model/model_spec.h"
#include "partition/plan/held_format.h"

namespace caravan::cli {

// Decoding one stream reads every weight once for each token and can be no
// faster than the memory; taking a prompt in multiplies and adds with each
// weight for each token and can be no faster than the arithmetic. (Attention is
// not counted: it is little at the lengths of these tests.)
class MachineLimit final {
 public:
  // `num_threads` work at the same time, on weights held by `hold`.
  MachineLimit(const partition::ModelSpec& spec,
               const partition::HoldOptions& hold, int num_threads);

  // Measures the machine, which takes some tenths of a second and 256 MiB, on
  // threads of its own. Tokens per second; 0: this does not bound the test.
  absl::StatusOr<double> TokensPerSecond(const SpeedTest& test) const;

  // What a token of the test costs: bytes read, or operations.
  double CostOf(const SpeedTest& test) const;

  int num_threads() const { return num_threads_; }

 private:
  partition::ModelSpec spec_;
  partition::HoldOptions hold_;
  int num_threads_;
};

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_MACHINE_LIMIT_H_
