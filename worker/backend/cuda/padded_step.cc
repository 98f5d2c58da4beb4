#include "worker/backend/cuda/padded_step.h"

#include <iterator>
#include <limits>

#include "base/check.h"

namespace caravan::worker::cuda {
namespace {

// No vocabulary has it.
constexpr int32_t kNoToken = std::numeric_limits<int32_t>::max();

}  // namespace

PaddedStep::PaddedStep(const StepInput& input, int64_t num_rows)
    : ids_(input.tokens.ids.begin(), input.tokens.ids.end()),
      choices_(input.choices.begin(), input.choices.end()),
      input_(input) {
  const int64_t own_rows = input.batch.num_rows;
  CARAVAN_CHECK(num_rows >= own_rows);
  CARAVAN_CHECK(ids_.empty() || std::ssize(ids_) == own_rows);
  CARAVAN_CHECK(choices_.empty() || std::ssize(choices_) == own_rows);
  if (!ids_.empty()) ids_.resize(num_rows, kNoToken);
  if (!choices_.empty()) {
    for (int64_t row = own_rows; row < num_rows; ++row) {
      choices_.push_back({.row = row});
    }
  }
  input_.batch.num_rows = num_rows;
  input_.tokens.ids = ids_;
  input_.choices = choices_;
}

}  // namespace caravan::worker::cuda
