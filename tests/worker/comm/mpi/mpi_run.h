// A real mpirun with ranks of a test's own program.
#ifndef CARAVAN_TESTS_WORKER_COMM_MPI_MPI_RUN_H_
#define CARAVAN_TESTS_WORKER_COMM_MPI_MPI_RUN_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace caravan::testing {

// One job. Output of all ranks, both streams, comes as lines in the order of
// arrival. The destructor kills what is left. One thread.
class MpiRun final {
 public:
  // `arguments` come after mpirun's own: options of mpirun, program, and the
  // program's arguments.
  static absl::StatusOr<std::unique_ptr<MpiRun>> Start(
      int ranks, std::vector<std::string> arguments);
  ~MpiRun();
  MpiRun(const MpiRun&) = delete;
  MpiRun& operator=(const MpiRun&) = delete;

  // The next line that contains `text`; kDeadlineExceeded and kOutOfRange (the
  // output ended) quote all output.
  absl::StatusOr<std::string> AwaitLine(const std::string& text,
                                        absl::Duration timeout);

  // mpirun's exit status, 128 + signal if one killed it. Reads the output to
  // its end.
  absl::StatusOr<int> AwaitExit(absl::Duration timeout);

  const std::string& output() const { return output_; }

 private:
  MpiRun(pid_t pid, int pipe) : pid_(pid), pipe_(pipe) {}

  // Appends to output_; false when it has ended.
  absl::StatusOr<bool> ReadMore(absl::Time deadline);

  pid_t pid_;  // 0 after it was reaped
  int pipe_;
  std::string output_;
  size_t seen_ = 0;  // of output_, by AwaitLine
};

}  // namespace caravan::testing

#endif  // CARAVAN_TESTS_WORKER_COMM_MPI_MPI_RUN_H_
