// Files read at offsets. Checkpoints are read by pread, never mapped: a file
// that is cut short while it is in use is an error, not a signal.
#ifndef CARAVAN_PARTITION_MODEL_FILE_H_
#define CARAVAN_PARTITION_MODEL_FILE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace caravan::partition {

// Const methods are thread-safe. Messages do not name the path: callers
// annotate with it once.
class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;

  const std::string& path() const { return path_; }
  int64_t size() const { return size_; }

  // Fills `out` with the bytes from `offset` on. kDataLoss: the file ends
  // before.
  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const;

 protected:
  RandomAccessFile(std::string path, int64_t size)
      : path_(std::move(path)), size_(size) {}

 private:
  // As Read; the range lies inside the size at opening.
  virtual absl::Status DoRead(int64_t offset,
                              absl::Span<std::byte> out) const = 0;

  const std::string path_;
  const int64_t size_;
};

// kNotFound, kPermissionDenied; kInvalidArgument: not a regular file.
absl::StatusOr<std::unique_ptr<RandomAccessFile>> OpenFile(
    absl::string_view path);

// A file that lives in memory; `path` is only a name.
std::unique_ptr<RandomAccessFile> MemoryFile(absl::string_view path,
                                             std::string bytes);

// The whole of a small file. kInvalidArgument: over `max_bytes`. Errors name
// the path.
absl::StatusOr<std::string> ReadWholeFile(absl::string_view path,
                                          int64_t max_bytes);

}  // namespace caravan::partition

#endif  // CARAVAN_PARTITION_MODEL_FILE_H_
