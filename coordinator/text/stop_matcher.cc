#include "coordinator/text/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace caravan::coordinator {

bool StopMatcher::Automaton::Step(char byte) {
  while (matched > 0 && stop[matched] != byte) matched = fallback[matched];
  if (stop[matched] == byte) ++matched;
  return matched == stop.size();
}

StopMatcher::StopMatcher(std::vector<std::string> stops) {
  for (std::string& stop : stops) {
    if (stop.empty()) continue;
    Automaton automaton{.stop = std::move(stop)};
    automaton.fallback.assign(automaton.stop.size() + 1, 0);
    size_t shorter = 0;
    for (size_t i = 1; i < automaton.stop.size(); ++i) {
      while (shorter > 0 && automaton.stop[shorter] != automaton.stop[i]) {
        shorter = automaton.fallback[shorter];
      }
      if (automaton.stop[shorter] == automaton.stop[i]) ++shorter;
      automaton.fallback[i + 1] = shorter;
    }
    automata_.push_back(std::move(automaton));
  }
}

StopMatcher::Output StopMatcher::Append(absl::string_view text) {
  if (stopped_) return {.stopped = true};
  for (size_t i = 0; i < text.size(); ++i) {
    const Automaton* complete = nullptr;
    for (Automaton& automaton : automata_) {
      if (automaton.Step(text[i]) &&
          (complete == nullptr ||
           automaton.stop.size() > complete->stop.size())) {
        complete = &automaton;
      }
    }
    if (complete == nullptr) continue;
    stopped_ = true;
    held_.append(text.data(), i + 1);
    held_.resize(held_.size() - complete->stop.size());
    return {.text = std::exchange(held_, ""),
            .stopped = true,
            .stop_string = complete->stop};
  }
  held_.append(text.data(), text.size());
  size_t unsafe = 0;
  for (const Automaton& automaton : automata_) {
    unsafe = std::max(unsafe, automaton.matched);
  }
  Output output{.text = held_.substr(0, held_.size() - unsafe)};
  held_.erase(0, output.text.size());
  return output;
}

std::string StopMatcher::Finish() { return std::exchange(held_, ""); }

}  // namespace caravan::coordinator
