// A safetensors file from nowhere: it is refused, or its tensors share the file
// out among them.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "partition/model/file.h"
#include "partition/model/safetensors_header.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace partition = caravan::partition;
  const auto file = partition::MemoryFile(
      "fuzz.safetensors",
      std::string(reinterpret_cast<const char*>(data), size));
  const auto header = partition::ReadSafetensorsHeader(*file);
  if (!header.ok()) return 0;
  int64_t next = 8 + static_cast<int64_t>(header->text.size());
  for (const partition::SafetensorsTensor& tensor : header->tensors) {
    CARAVAN_CHECK(tensor.offset == next);
    CARAVAN_CHECK(tensor.bytes == tensor.info.rows * tensor.info.cols *
                                      caravan::ByteSize(tensor.info.dtype()));
    next += tensor.bytes;
  }
  CARAVAN_CHECK(next == file->size());
  return 0;
}
