#include "coordinator/api/served_model.h"

#include <algorithm>

#include "coordinator/api/errors.h"

namespace caravan::coordinator {

absl::Status ServedModel::CheckName(absl::string_view name) const {
  if (name.empty()) return absl::OkStatus();
  if (std::find(names.begin(), names.end(), name) == names.end()) {
    return UnknownModelError(name);
  }
  return absl::OkStatus();
}

int64_t LongestTokenBytes(const Tokenizer& tokenizer) {
  int64_t longest = 0;
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    longest = std::max(longest,
                       static_cast<int64_t>(tokenizer.TokenBytes(id).size()));
  }
  return longest;
}

}  // namespace caravan::coordinator
