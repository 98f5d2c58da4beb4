// Shows on standard error how far the engines are with their start.
#ifndef CARAVAN_CLI_LOAD_PROGRESS_H_
#define CARAVAN_CLI_LOAD_PROGRESS_H_

#include <cstdint>
#include <string>

#include "coordinator/cluster/cluster.h"

namespace caravan::cli {

// "loading 45 % of 1.2 GiB on 4 engines", or what is being waited for.
std::string DescribeStart(const coordinator::ClusterView& view);

// On a terminal one line with a bar that is written over; else a line for each
// change of state and each further quarter of the bytes. One thread.
class LoadProgress final {
 public:
  explicit LoadProgress(bool is_terminal) : is_terminal_(is_terminal) {}

  void Show(const coordinator::ClusterView& view);
  // Leaves no half line behind.
  void Finish();

 private:
  const bool is_terminal_;
  bool is_line_open_ = false;
  std::string last_state_;
  int64_t last_quarter_ = 0;
};

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_LOAD_PROGRESS_H_
