// A GGUF file from nowhere: opening refuses it, or every tensor can be read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/check.h"
#include "partition/model/file.h"
#include "partition/model/gguf_source.h"
#include "partition/model/tensor_names.h"

namespace caravan::partition {
namespace {

constexpr int64_t kMaxBytes = 1 << 24;  // of a tensor that is read

void ReadAll(const ModelSource& source) {
  CARAVAN_CHECK(Validate(source.spec()).ok());
  for (const NamedShape& shape : ExpectedTensors(source.spec())) {
    const absl::StatusOr<TensorInfo> info = source.Find(shape.name);
    CARAVAN_CHECK(info.ok() && info->rows == shape.rows &&
                  info->cols == shape.cols);
    const int64_t bytes = info->rows * info->cols * ByteSize(info->dtype());
    if (bytes > kMaxBytes) continue;
    std::vector<std::byte> out(static_cast<size_t>(bytes));
    const TensorSlice whole = {0, info->rows, 0, info->cols};
    CARAVAN_CHECK(source.Read(shape.name, whole, absl::MakeSpan(out)).ok());
    out.resize(ByteSize(info->stored, info->rows * info->cols));
    CARAVAN_CHECK(
        source.ReadStored(shape.name, whole, absl::MakeSpan(out)).ok());
  }
}

}  // namespace
}  // namespace caravan::partition

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto source =
      caravan::partition::MakeGgufSource(caravan::partition::MemoryFile(
          "fuzz.gguf", std::string(reinterpret_cast<const char*>(data), size)));
  if (source.ok()) caravan::partition::ReadAll(**source);
  return 0;
}
