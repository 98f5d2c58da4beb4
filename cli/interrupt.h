// Ctrl-C, as something to wait for.
#ifndef CARAVAN_CLI_INTERRUPT_H_
#define CARAVAN_CLI_INTERRUPT_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"

namespace caravan::cli {

// While it lives, SIGINT, SIGTERM and SIGHUP do not end the process but make
// fd() readable. One at a time in a process.
class Interrupt final {
 public:
  static absl::StatusOr<std::unique_ptr<Interrupt>> Create();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int fd() const { return read_fd_; }
  // Whether one came that asks the process to end, not only what it does now.
  bool ends_process() const;
  // Forgets what came.
  void Clear();

 private:
  Interrupt(int read_fd, int write_fd);
  const int read_fd_;
  const int write_fd_;
};

// Lines of a file, waiting for input or an interrupt.
class LineReader final {
 public:
  // `interrupt_fd` -1: none.
  LineReader(int fd, int interrupt_fd) : fd_(fd), interrupt_fd_(interrupt_fd) {}

  // Without its line break; nullopt: the end. kCancelled: interrupted.
  absl::StatusOr<std::optional<std::string>> Read();

 private:
  const int fd_;
  const int interrupt_fd_;
  std::string pending_;
  bool at_end_ = false;
};

}  // namespace caravan::cli

#endif  // CARAVAN_CLI_INTERRUPT_H_
