#include "cli/load_progress.h"

#include <algorithm>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace caravan::cli {
namespace {

constexpr int kBarWidth = 30;

struct Bytes {
  int64_t loaded = 0;
  int64_t total = 0;
};

Bytes CountBytes(const coordinator::ClusterView& view) {
  Bytes bytes;
  for (const coordinator::RankState& rank : view.ranks) {
    bytes.loaded += rank.loaded_bytes;
    bytes.total += rank.total_bytes;
  }
  return bytes;
}

int64_t Percent(const Bytes& bytes) {
  return bytes.total <= 0
             ? 0
             : std::min<int64_t>(100, bytes.loaded * 100 / bytes.total);
}

}  // namespace

std::string DescribeStart(const coordinator::ClusterView& view) {
  const Bytes bytes = CountBytes(view);
  if (view.state == coordinator::ReplicaState::kLoading && bytes.total > 0) {
    return absl::StrFormat(
        "loading %d %% of %.2f GiB on %d engines", Percent(bytes),
        static_cast<double>(bytes.total) / (1 << 30), view.ranks.size());
  }
  return std::string(Name(view.state));
}

void LoadProgress::Show(const coordinator::ClusterView& view) {
  const Bytes bytes = CountBytes(view);
  const std::string state = std::string(Name(view.state));
  if (is_terminal_) {
    const auto filled = static_cast<int>(Percent(bytes) * kBarWidth / 100);
    std::fprintf(stderr, "\r[%s%s] %-60s", std::string(filled, '#').c_str(),
                 std::string(kBarWidth - filled, '.').c_str(),
                 DescribeStart(view).c_str());
    is_line_open_ = true;
    return;
  }
  const int64_t quarter = Percent(bytes) / 25;
  if (state == last_state_ && quarter <= last_quarter_) return;
  last_state_ = state;
  last_quarter_ = quarter;
  std::fprintf(stderr, "%s\n", DescribeStart(view).c_str());
}

void LoadProgress::Finish() {
  if (is_line_open_) std::fprintf(stderr, "\r%*s\r", 32 + 62, "");
  is_line_open_ = false;
}

}  // namespace caravan::cli
