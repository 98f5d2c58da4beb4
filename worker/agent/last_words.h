// The last lines that a process wrote, kept in bounded space.
#ifndef CARAVAN_WORKER_AGENT_LAST_WORDS_H_
#define CARAVAN_WORKER_AGENT_LAST_WORDS_H_

#include <deque>
#include <functional>
#include <string>

#include "absl/strings/string_view.h"

namespace caravan::worker {

// Cuts what it is fed into lines; keeps the last 20 of at most 512 bytes each.
// One thread.
class LastWords final {
 public:
  // `on_line` (may be empty) sees each line when it is complete.
  explicit LastWords(std::function<void(absl::string_view line)> on_line)
      : on_line_(std::move(on_line)) {}

  void Append(absl::string_view text);
  // The process has ended: what has no line break yet is a line too.
  void Finish();

  // The lines, each ended by '\n'.
  std::string Text() const;

 private:
  void EndLine();

  std::function<void(absl::string_view)> on_line_;
  std::deque<std::string> lines_;
  std::string open_line_;
};

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_LAST_WORDS_H_
