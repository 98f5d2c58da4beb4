// Reads a GGUF header front to back: numbers and strings, each checked against
// what is left of the file.
#ifndef CARAVAN_PARTITION_MODEL_GGUF_CURSOR_H_
#define CARAVAN_PARTITION_MODEL_GGUF_CURSOR_H_

#include <bit>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/status_macros.h"
#include "partition/model/file.h"

namespace caravan::partition {

// One thread. The file must outlive the cursor.
class GgufCursor final {
 public:
  // kInvalidArgument once more than `max_bytes` were asked for.
  GgufCursor(const RandomAccessFile& file, int64_t max_bytes)
      : file_(file), max_bytes_(max_bytes) {}

  int64_t position() const { return position_; }
  int64_t remaining() const { return file_.size() - position_; }

  // Of fixed size, little endian.
  template <typename T>
  absl::StatusOr<T> Number() {
    static_assert(std::endian::native == std::endian::little);
    T value;
    CARAVAN_RETURN_IF_ERROR(
        ReadBytes({reinterpret_cast<std::byte*>(&value), sizeof(value)}));
    return value;
  }

  // A length and that many bytes. kInvalidArgument: over `max_bytes`.
  absl::StatusOr<std::string> String(int64_t max_bytes);

  // A count that at least `element_bytes` of file each must back.
  absl::StatusOr<int64_t> Count(int64_t element_bytes);

 private:
  absl::Status ReadBytes(absl::Span<std::byte> out);
  absl::Status CheckLength(int64_t bytes) const;

  const RandomAccessFile& file_;
  const int64_t max_bytes_;
  int64_t position_ = 0;
  // Bytes of the file from buffer_begin_ on.
  std::vector<std::byte> buffer_;
  int64_t buffer_begin_ = 0;
};

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_GGUF_CURSOR_H_
