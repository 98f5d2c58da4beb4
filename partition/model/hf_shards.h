// The safetensors files of a Hugging Face folder as one table of tensors.
#ifndef CARAVAN_PARTITION_MODEL_HF_SHARDS_H_
#define CARAVAN_PARTITION_MODEL_HF_SHARDS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "partition/model/file.h"
#include "partition/model/fingerprint.h"
#include "partition/model/model_source.h"

namespace caravan::partition {

struct HfShards {
  struct Place {
    TensorInfo info;
    size_t file = 0;  // into files
    int64_t offset = 0;
  };
  std::vector<std::unique_ptr<RandomAccessFile>> files;
  absl::flat_hash_map<std::string, Place> tensors;
};

// Opens `folder`/model.safetensors or, where there is none, all files that
// model.safetensors.index.json names, and checks that both say the same. Adds
// names, sizes and headers to the fingerprint. kNotFound: neither is there.
// Errors name the file.
absl::StatusOr<HfShards> OpenHfShards(absl::string_view folder,
                                      FingerprintBuilder& fingerprint);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_HF_SHARDS_H_
