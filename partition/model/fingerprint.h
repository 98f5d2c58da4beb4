// What tells two checkpoints apart without reading their weights.
#ifndef CARAVAN_PARTITION_MODEL_FINGERPRINT_H_
#define CARAVAN_PARTITION_MODEL_FINGERPRINT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/model_spec.h"

namespace caravan::partition {

// Collects labelled parts; their order counts. Parts cannot run into each
// other: each goes in with its length.
class FingerprintBuilder final {
 public:
  void Add(absl::string_view label, absl::string_view bytes);
  void Add(absl::string_view label, int64_t value);
  void Add(const ModelSpec& spec);

  // SHA-256 of it all in hex, 64 characters.
  absl::StatusOr<std::string> Finish() const;

 private:
  std::string bytes_;
};

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_FINGERPRINT_H_
