// Server-sent events from nowhere: wherever the bytes are cut, the same events
// come out.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/check.h"
#include "cli/event_parser.h"

namespace caravan::cli {
namespace {

struct Outcome {
  std::vector<std::string> events;
  absl::StatusCode code = absl::StatusCode::kOk;
};

Outcome Parse(absl::string_view bytes, size_t piece) {
  constexpr int64_t kMaxEventBytes = 64;
  EventParser parser(kMaxEventBytes);
  Outcome outcome;
  while (!bytes.empty() && outcome.code == absl::StatusCode::kOk) {
    const auto on_event = [&outcome](absl::string_view data) {
      CARAVAN_CHECK(data.size() <= kMaxEventBytes);
      outcome.events.emplace_back(data);
      return absl::OkStatus();
    };
    outcome.code = parser.Add(bytes.substr(0, piece), on_event).code();
    bytes.remove_prefix(std::min(piece, bytes.size()));
  }
  return outcome;
}

}  // namespace
}  // namespace caravan::cli

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace cli = caravan::cli;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const cli::Outcome whole = cli::Parse(bytes, size);
  for (const size_t piece : {1, 2, 7}) {
    const cli::Outcome cut = cli::Parse(bytes, piece);
    CARAVAN_CHECK(cut.code == whole.code && cut.events == whole.events);
  }
  return 0;
}
