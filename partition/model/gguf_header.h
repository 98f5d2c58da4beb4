// The parts of a GGUF header, parsed and checked.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_HEADER_H_
#define CARAVAN_PARTITION_MODEL_GGUF_HEADER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "partition/model/file.h"
#include "partition/model/gguf_file.h"

namespace caravan::partition {

struct GgufHeader {
  absl::flat_hash_map<std::string, GgufValue> metadata;
  std::vector<GgufTensor> tensors;
  int64_t data_begin = 0;
};

// Errors name the key or tensor, not the file.
absl::StatusOr<GgufHeader> ParseGgufHeader(const RandomAccessFile& file);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_HEADER_H_
