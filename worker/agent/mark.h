// The mark that every process of an epoch carries in its environment
// (base/engine_environment.h), so that all of them are found in /proc, whoever
// their parent is by now.
#ifndef CARAVAN_WORKER_AGENT_MARK_H_
#define CARAVAN_WORKER_AGENT_MARK_H_

#include <sys/types.h>

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "worker/agent/epoch_key.h"

namespace caravan::worker {

struct Mark {
  // "<identity>-<drawn at the agent's start>". The identity stays with the
  // runtime folder, so that a restarted agent knows its predecessor's
  // processes.
  std::string incarnation;
  EpochKey epoch;

  absl::string_view identity() const;
};

// "<incarnation>/<replica>/<epoch>" and back; nullopt for anything else.
std::string FormatMark(const Mark& mark);
std::optional<Mark> ParseMark(absl::string_view text);

// The mark in the block of zero-terminated variables that /proc shows.
std::optional<Mark> FindMark(absl::string_view environment);

// The mark of a living process; nullopt when it has none, is a zombie, is gone
// or may not be looked at.
std::optional<Mark> ReadMark(pid_t pid);

struct MarkedProcess {
  pid_t pid = 0;
  Mark mark;
};

// The living processes whose marks `wanted` accepts; never the caller itself.
std::vector<MarkedProcess> FindMarked(
    const std::function<bool(const Mark&)>& wanted);

}  // namespace caravan::worker

#endif  // CARAVAN_WORKER_AGENT_MARK_H_
