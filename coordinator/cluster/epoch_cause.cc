#include "coordinator/cluster/epoch_cause.h"

#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace caravan::coordinator {
namespace {

// The last line that says something.
std::string LastLine(absl::string_view text) {
  const std::vector<absl::string_view> lines =
      absl::StrSplit(text, '\n', absl::SkipWhitespace());
  return lines.empty() ? "" : std::string(lines.back());
}

Evidence EvidenceOf(const v1::ProcessExited& exited) {
  const bool is_engine = exited.role() == "engine";
  if (is_engine && absl::StrContains(exited.reason(), "signal 15")) {
    return Evidence::kTerminated;
  }
  if (absl::StrContains(exited.reason(), "signal")) return Evidence::kKilled;
  return is_engine ? Evidence::kEngineExited : Evidence::kLauncherExited;
}

// "mpirun noticed that process rank 2 with PID 0 on node b exited on signal 9
// (Killed).", possibly broken into lines.
std::optional<EpochCause> ReadMpirunsWords(absl::string_view words) {
  constexpr absl::string_view kRank = "noticed that process rank ";
  constexpr absl::string_view kSignal = "exited on signal ";
  const size_t rank_at = words.find(kRank);
  if (rank_at == absl::string_view::npos) return std::nullopt;
  const size_t signal_at = words.find(kSignal, rank_at);
  if (signal_at == absl::string_view::npos) return std::nullopt;
  EpochCause cause;
  const absl::string_view rank = words.substr(rank_at + kRank.size());
  absl::string_view signal = words.substr(signal_at + kSignal.size());
  signal = signal.substr(0, signal.find_first_of(".\n"));
  if (!absl::SimpleAtoi(rank.substr(0, rank.find(' ')), &cause.rank)) {
    return std::nullopt;
  }
  cause.evidence = absl::StartsWith(signal, "15 ") ? Evidence::kTerminated
                                                   : Evidence::kKilled;
  cause.reason = absl::StrCat("killed by signal ", signal);
  return cause;
}

}  // namespace

bool IsConclusive(Evidence evidence) {
  switch (evidence) {
    case Evidence::kStalled:
    case Evidence::kLaunchFailed:
    case Evidence::kNodeLost:
    case Evidence::kKilled:
      return true;
    case Evidence::kAborted:
    case Evidence::kLauncherExited:
    case Evidence::kTerminated:
    case Evidence::kStreamLost:
    case Evidence::kPeerTrouble:
    case Evidence::kEngineExited:
    case Evidence::kEngineFailed:
      return false;
  }
  return true;
}

EpochCause CauseOf(const v1::ProcessExited& exited, absl::string_view node) {
  if (exited.role() == "mpirun") {
    std::optional<EpochCause> cause = ReadMpirunsWords(exited.last_words());
    if (cause.has_value()) return *std::move(cause);
  }
  EpochCause cause;
  cause.evidence = EvidenceOf(exited);
  cause.rank = exited.role() == "engine" ? exited.rank() : -1;
  cause.node = std::string(node);
  cause.reason = exited.role() == "engine"
                     ? exited.reason()
                     : absl::StrCat(exited.role(), " ", exited.reason());
  const std::string words = LastLine(exited.last_words());
  if (cause.evidence != Evidence::kKilled && !words.empty()) {
    absl::StrAppend(&cause.reason, " after saying \"", words, "\"");
  }
  return cause;
}

EpochCause CauseOf(const v1::EngineFailure& failure, int rank,
                   absl::string_view node) {
  EpochCause cause;
  cause.code = static_cast<absl::StatusCode>(failure.code());
  switch (cause.code) {
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kCancelled:
      cause.evidence = Evidence::kAborted;
      break;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      cause.evidence = Evidence::kPeerTrouble;
      break;
    default:
      cause.evidence = Evidence::kEngineFailed;
  }
  cause.rank = rank;
  cause.node = std::string(node);
  cause.step = failure.step();
  cause.phase = failure.phase();
  cause.reason = failure.message();
  return cause;
}

std::string DescribeEnd(uint64_t replica, uint64_t epoch,
                        const EpochCause& cause) {
  std::string line =
      absl::StrCat("replica ", replica, " epoch ", epoch, " ended: ");
  if (cause.rank >= 0) {
    absl::StrAppend(&line, "rank ", cause.rank, " on ", cause.node, ": ");
  } else if (!cause.node.empty()) {
    absl::StrAppend(&line, "node ", cause.node, ": ");
  }
  absl::StrAppend(&line, cause.reason);
  if (cause.step > 0) absl::StrAppend(&line, " at step ", cause.step);
  if (!cause.phase.empty()) absl::StrAppend(&line, " in ", cause.phase);
  return line;
}

}  // namespace caravan::coordinator
