#include <algorithm>
#include <memory>
#include <vector>

#include "base/checked_math.h"
#include "coordinator/schedule/scheduling_policy.h"
#include "partition/plan/plan.h"

namespace caravan::coordinator {
namespace {

// At a prefix of this many tokens, attention over it is taken to cost a row as
// much as all its matrices do (for a 7B to 70B decoder the arithmetic is equal
// at 25,000 to 50,000, but attention runs at a fraction of a GEMM's speed). A
// prefill row after prefix p therefore counts as 1 + p / kEqualPrefix rows, so
// that steps take about the same time however far a prompt has come.
constexpr int64_t kEqualPrefix = 8192;

int64_t BlocksFor(int64_t num_tokens) {
  return CeilDivide(num_tokens, partition::kBlockTokens);
}

// The decision for one snapshot while it grows.
class Decider {
 public:
  explicit Decider(const ScheduleSnapshot& snapshot)
      : snapshot_(snapshot),
        states_(snapshot.running.size()),
        budget_(snapshot.max_tokens),
        free_blocks_(snapshot.free_blocks),
        num_running_(static_cast<int64_t>(snapshot.running.size())) {}

  StepDecision Decide() {
    for (size_t i = 0; i < states_.size(); ++i) {
      const RunningSequence& sequence = snapshot_.running[i];
      if (sequence.num_prompt_left == 0 && sequence.decodable) Schedule(i);
    }
    for (size_t i = 0; i < states_.size(); ++i) {
      if (snapshot_.running[i].num_prompt_left > 0) Schedule(i);
    }
    // A newcomer must not take blocks for which another was just preempted.
    if (decision_.preempted.empty()) Admit();
    return std::move(decision_);
  }

 private:
  enum class State { kIdle, kScheduled, kPreempted };

  // Rows of a chunk after `prefix` that the budget left pays for, rounded up.
  int64_t ChunkTokens(int64_t prefix, int64_t num_left) const {
    return std::min(num_left,
                    CeilDivide(budget_ * kEqualPrefix, kEqualPrefix + prefix));
  }

  void Charge(int64_t num_tokens, int64_t prefix) {
    budget_ -= std::min(
        budget_,
        CeilDivide(num_tokens * (kEqualPrefix + prefix), kEqualPrefix));
  }

  void Schedule(size_t index) {
    const RunningSequence& sequence = snapshot_.running[index];
    if (sequence.group != snapshot_.group || budget_ < 1 ||
        states_[index] == State::kPreempted) {
      return;
    }
    const bool decodes = sequence.num_prompt_left == 0;
    const int64_t num_tokens =
        decodes ? 1
                : ChunkTokens(sequence.num_cached, sequence.num_prompt_left);
    const int64_t num_new_blocks = std::max<int64_t>(
        0, BlocksFor(sequence.num_cached + num_tokens) - sequence.num_blocks);
    // Without room it stands still until an older sequence leaves, or preempts
    // it. The oldest always gets room, so something always moves.
    if (!MakeRoom(index, num_new_blocks)) return;
    states_[index] = State::kScheduled;
    free_blocks_ -= num_new_blocks;
    Charge(num_tokens, decodes ? 0 : sequence.num_cached);
    decision_.scheduled.push_back(
        {sequence.sequence, num_tokens, num_new_blocks});
  }

  // Preempts sequences younger than `index`, the youngest first, until
  // `num_blocks` are free.
  bool MakeRoom(size_t index, int64_t num_blocks) {
    for (size_t victim = states_.size(); free_blocks_ < num_blocks;) {
      if (--victim == index) return false;
      if (states_[victim] != State::kIdle) continue;
      states_[victim] = State::kPreempted;
      free_blocks_ += snapshot_.running[victim].num_blocks;
      --num_running_;
      decision_.preempted.push_back(snapshot_.running[victim].sequence);
    }
    return true;
  }

  void Admit() {
    const int64_t room = snapshot_.max_sequences - num_running_;
    const int64_t num_waiting = static_cast<int64_t>(snapshot_.waiting.size());
    const int64_t share =
        CeilDivide(num_running_ + std::clamp<int64_t>(room, 0, num_waiting),
                   snapshot_.num_groups);
    int64_t num_in_group = 0;
    for (const RunningSequence& sequence : snapshot_.running) {
      if (sequence.group == snapshot_.group) ++num_in_group;
    }
    for (const WaitingSequence& sequence : snapshot_.waiting) {
      if (budget_ < 1 || num_in_group >= share ||
          num_running_ >= snapshot_.max_sequences) {
        return;
      }
      // The whole prompt's blocks at once, so that prefill never gets stuck;
      // and, so that it is not preempted at once, a block to grow into for
      // each sequence that runs.
      const int64_t num_blocks = BlocksFor(sequence.num_tokens);
      if (free_blocks_ < num_blocks + num_running_) return;
      const int64_t num_tokens = ChunkTokens(0, sequence.num_tokens);
      free_blocks_ -= num_blocks;
      ++num_running_;
      ++num_in_group;
      Charge(num_tokens, 0);
      decision_.admitted.push_back(sequence.sequence);
      decision_.scheduled.push_back(
          {sequence.sequence, num_tokens, num_blocks});
    }
  }

  const ScheduleSnapshot& snapshot_;
  std::vector<State> states_;
  int64_t budget_;
  int64_t free_blocks_;
  int64_t num_running_;
  StepDecision decision_;
};

class FirstComePolicy final : public SchedulingPolicy {
 public:
  StepDecision Next(const ScheduleSnapshot& snapshot) const override {
    return Decider(snapshot).Decide();
  }
};

}  // namespace

std::unique_ptr<SchedulingPolicy> MakeFirstComePolicy() {
  return std::make_unique<FirstComePolicy>();
}

}  // namespace caravan::coordinator
