// A config.json from nowhere: it is refused, or the spec is valid.
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "base/check.h"
#include "partition/model/hf_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace partition = caravan::partition;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  absl::StatusOr<partition::ModelSpec> spec = partition::ParseHfConfig(text);
  if (!spec.ok()) return 0;
  CARAVAN_CHECK(partition::Validate(*spec).ok());
  // The same text as generation_config.json: its eos_token_id is known.
  CARAVAN_CHECK(partition::MergeGenerationConfig(text, *spec).ok());
  CARAVAN_CHECK(partition::Validate(*spec).ok());
  return 0;
}
